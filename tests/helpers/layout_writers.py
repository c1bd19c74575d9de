"""Writers of the layouts in which SigLIP is published, from the weights of a model of transformers.

They share nothing with the tables of the package: each writes down the layout once more, from the side of
the module that has it, as torch and flax lay it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

Tensors = dict[str, np.ndarray]


def timm_tensors(hf: Mapping[str, np.ndarray], naflex: bool = False) -> Tensors:
    """The state of timm's VisionTransformer, from that of transformers' SiglipVisionModel."""
    out: Tensors = {}
    embeds = "embeds." if naflex else ""
    projection = "embeds.proj" if naflex else "patch_embed.proj"
    positions = hf["embeddings.position_embedding.weight"]
    side = int(len(positions) ** 0.5)
    out[f"{embeds}pos_embed"] = positions.reshape(1, side, side, -1) if naflex else positions[None]
    for leaf in ("weight", "bias"):
        out[f"{projection}.{leaf}"] = hf[f"embeddings.patch_embedding.{leaf}"]
        out[f"norm.{leaf}"] = hf[f"post_layernorm.{leaf}"]
        for i in range(_depth(hf)):
            ours, theirs = f"encoder.layers.{i}", f"blocks.{i}"
            out[f"{theirs}.norm1.{leaf}"] = hf[f"{ours}.layer_norm1.{leaf}"]
            out[f"{theirs}.attn.qkv.{leaf}"] = np.concatenate(
                [hf[f"{ours}.self_attn.{name}_proj.{leaf}"] for name in "qkv"]
            )
            out[f"{theirs}.attn.proj.{leaf}"] = hf[f"{ours}.self_attn.out_proj.{leaf}"]
            out[f"{theirs}.norm2.{leaf}"] = hf[f"{ours}.layer_norm2.{leaf}"]
            for fc in ("fc1", "fc2"):
                out[f"{theirs}.mlp.{fc}.{leaf}"] = hf[f"{ours}.mlp.{fc}.{leaf}"]
        if "head.probe" not in hf:
            continue
        width = positions.shape[1]
        in_proj = hf[f"head.attention.in_proj_{leaf}"]
        out["attn_pool.latent"] = hf["head.probe"]
        out[f"attn_pool.q.{leaf}"], out[f"attn_pool.kv.{leaf}"] = in_proj[:width], in_proj[width:]
        out[f"attn_pool.proj.{leaf}"] = hf[f"head.attention.out_proj.{leaf}"]
        out[f"attn_pool.norm.{leaf}"] = hf[f"head.layernorm.{leaf}"]
        for fc in ("fc1", "fc2"):
            out[f"attn_pool.mlp.{fc}.{leaf}"] = hf[f"head.mlp.{fc}.{leaf}"]
    return out


def open_clip_tensors(hf: Mapping[str, np.ndarray]) -> Tensors:
    """The state of open_clip's CustomTextCLIP, from that of transformers' SiglipModel."""
    vision, text = part(hf, "vision_model."), part(hf, "text_model.")
    out = {f"visual.trunk.{name}": value for name, value in timm_tensors(vision).items()}
    out["logit_scale"], out["logit_bias"] = hf["logit_scale"].reshape(()), hf["logit_bias"].reshape(())
    out["text.token_embedding.weight"] = text["embeddings.token_embedding.weight"]
    out["text.positional_embedding"] = text["embeddings.position_embedding.weight"]
    for leaf in ("weight", "bias"):
        out[f"text.ln_final.{leaf}"] = text[f"final_layer_norm.{leaf}"]
        out[f"text.text_projection.{leaf}"] = text[f"head.{leaf}"]
        for i in range(_depth(text)):
            ours, theirs = f"encoder.layers.{i}", f"text.transformer.resblocks.{i}"
            out[f"{theirs}.ln_1.{leaf}"] = text[f"{ours}.layer_norm1.{leaf}"]
            out[f"{theirs}.ln_2.{leaf}"] = text[f"{ours}.layer_norm2.{leaf}"]
            out[f"{theirs}.attn.in_proj_{leaf}"] = np.concatenate(
                [text[f"{ours}.self_attn.{name}_proj.{leaf}"] for name in "qkv"]
            )
            out[f"{theirs}.attn.out_proj.{leaf}"] = text[f"{ours}.self_attn.out_proj.{leaf}"]
            out[f"{theirs}.mlp.c_fc.{leaf}"] = text[f"{ours}.mlp.fc1.{leaf}"]
            out[f"{theirs}.mlp.c_proj.{leaf}"] = text[f"{ours}.mlp.fc2.{leaf}"]
    return out


def flax_tensors(
    hf: Mapping[str, np.ndarray], vision_heads: int, text_heads: int = 1, *, stacked: bool = False
) -> Tensors:
    """The parameters of big_vision's two_towers, from the state of transformers' SiglipModel.

    A model of one tower gives the parameters of big_vision's vit alone.
    """
    if "embeddings.position_embedding.weight" in hf:
        return _flax_vision(hf, vision_heads, stacked)
    vision, text = part(hf, "vision_model."), part(hf, "text_model.")
    out = {f"img/{name}": value for name, value in _flax_vision(vision, vision_heads, stacked).items()}
    out |= {f"txt/{name}": value for name, value in _flax_text(text, text_heads, stacked).items()}
    return out | {"t": hf["logit_scale"], "b": hf["logit_bias"]}


def _flax_vision(hf: Mapping[str, np.ndarray], heads: int, stacked: bool) -> Tensors:
    kernel = hf["embeddings.patch_embedding.weight"]
    positions = hf["embeddings.position_embedding.weight"]
    naflex = kernel.ndim == 2
    side = int(len(positions) ** 0.5)
    out = {
        # a convolution of flax has the axes height, width, in, out
        "embedding/kernel": kernel.T if naflex else np.moveaxis(kernel, (2, 3, 1, 0), (0, 1, 2, 3)),
        "embedding/bias": hf["embeddings.patch_embedding.bias"],
        "pos_embedding": positions.reshape(side, side, -1) if naflex else positions[None],
    }
    out |= _encoder("Transformer", hf, heads, "post_layernorm", stacked)
    if "head.probe" in hf:
        in_proj = {
            name: (weight, bias)
            for name, weight, bias in zip(
                ("query", "key", "value"),
                np.split(hf["head.attention.in_proj_weight"], 3),
                np.split(hf["head.attention.in_proj_bias"], 3),
                strict=True,
            )
        }
        out_proj = (hf["head.attention.out_proj.weight"], hf["head.attention.out_proj.bias"])
        out["MAPHead_0/probe"] = hf["head.probe"]
        out |= _attention("MAPHead_0", in_proj, out_proj, heads)
        out |= _layer_norm("MAPHead_0/LayerNorm_0", hf, "head.layernorm")
        out |= _mlp("MAPHead_0", hf, "head")
    return out


def _flax_text(hf: Mapping[str, np.ndarray], heads: int, stacked: bool) -> Tensors:
    return {
        "Embed_0/embedding": hf["embeddings.token_embedding.weight"],
        "pos_embedding": hf["embeddings.position_embedding.weight"][None],
        **_encoder("Encoder_0", hf, heads, "final_layer_norm", stacked),
        **_dense("head", hf, "head"),
    }


def _encoder(name: str, hf: Mapping[str, np.ndarray], heads: int, norm: str, stacked: bool) -> Tensors:
    layers = []
    for i in range(_depth(hf)):
        ours = f"encoder.layers.{i}"

        def linear(projection: str, layer: str = ours) -> tuple[np.ndarray, np.ndarray]:
            return hf[f"{layer}.self_attn.{projection}.weight"], hf[f"{layer}.self_attn.{projection}.bias"]

        inward = {flax: linear(f"{flax[0]}_proj") for flax in ("query", "key", "value")}
        layers.append(
            _layer_norm("LayerNorm_0", hf, f"{ours}.layer_norm1")
            | _attention("", inward, linear("out_proj"), heads)
            | _layer_norm("LayerNorm_1", hf, f"{ours}.layer_norm2")
            | _mlp("", hf, ours)
        )
    out = _layer_norm(f"{name}/encoder_norm", hf, norm)
    if stacked:
        return out | {
            f"{name}/encoderblock/{leaf}": np.stack([layer[leaf] for layer in layers]) for leaf in layers[0]
        }
    return out | {
        f"{name}/encoderblock_{i}/{leaf}": value
        for i, layer in enumerate(layers)
        for leaf, value in layer.items()
    }


def _attention(prefix: str, inward: dict, outward: tuple, heads: int) -> Tensors:
    """Kernels as flax's DenseGeneral shapes them: (features, heads, head_dim) and back."""
    module = f"{prefix}/MultiHeadDotProductAttention_0".lstrip("/")
    out = {}
    for name, (weight, bias) in inward.items():
        width = weight.shape[1]
        out[f"{module}/{name}/kernel"] = np.einsum("of->fo", weight).reshape(width, heads, -1)
        out[f"{module}/{name}/bias"] = bias.reshape(heads, -1)
    weight, bias = outward
    out[f"{module}/out/kernel"] = np.einsum("of->fo", weight).reshape(heads, -1, weight.shape[0])
    out[f"{module}/out/bias"] = bias
    return out


def _mlp(prefix: str, hf: Mapping[str, np.ndarray], ours: str) -> Tensors:
    module = f"{prefix}/MlpBlock_0".lstrip("/")
    return _dense(f"{module}/Dense_0", hf, f"{ours}.mlp.fc1") | _dense(
        f"{module}/Dense_1", hf, f"{ours}.mlp.fc2"
    )


def _dense(name: str, hf: Mapping[str, np.ndarray], ours: str) -> Tensors:
    return {f"{name}/kernel": np.einsum("of->fo", hf[f"{ours}.weight"]), f"{name}/bias": hf[f"{ours}.bias"]}


def _layer_norm(name: str, hf: Mapping[str, np.ndarray], ours: str) -> Tensors:
    return {f"{name}/scale": hf[f"{ours}.weight"], f"{name}/bias": hf[f"{ours}.bias"]}


def part(hf: Mapping[str, np.ndarray], prefix: str, keep: bool = False) -> Tensors:
    """The tensors under a prefix, without it or with it."""
    begin = 0 if keep else len(prefix)
    return {name[begin:]: value for name, value in hf.items() if name.startswith(prefix)}


def _depth(hf: Mapping[str, np.ndarray]) -> int:
    return 1 + max(int(name.split(".")[2]) for name in hf if name.startswith("encoder.layers."))


def save_npz(
    file: Path, tensors: Mapping[str, np.ndarray], prefix: str = "", compressed: bool = False
) -> None:
    """As `numpy.savez`, whose names of arguments may hold slashes too."""
    save = np.savez_compressed if compressed else np.savez
    save(file, **{prefix + name: value for name, value in tensors.items()})
