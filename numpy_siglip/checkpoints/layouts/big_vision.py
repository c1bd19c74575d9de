"""Both towers as big_vision, in which SigLIP was trained, names them: the ``.npz`` files of the authors.

Source: ``models/vit.py``, ``models/proj/image_text/{naflex_vit,text_transformer,two_towers}.py`` of
https://github.com/google-research/big_vision, with what their ``load`` and ``fix_old_checkpoints`` mend.
Maps are (in, out), attention keeps its heads apart, and the tensors of all layers are either apart
(``encoderblock_0``, ``encoderblock_1`` ...) or stacked (``encoderblock``, with the layer as first axis).
"""

from __future__ import annotations

from ..checkpoint import Checkpoint
from .tables import WHOLE, Leaves, Row, TowerTable
from .turns import AS_STORED, FILTERS, FLAT, INTO_HEADS, OUT_OF_HEADS, POSITIONS, TRANSPOSED

LAYOUT = "big_vision"
MARK = "embedding/kernel"
TEXT_MARK = "Embed_0/embedding"

_NORM: Leaves = {"weight": ("scale", AS_STORED), "bias": ("bias", AS_STORED)}
_DENSE: Leaves = {"weight": ("kernel", TRANSPOSED), "bias": ("bias", AS_STORED)}
_CONVOLUTION: Leaves = {"weight": ("kernel", FILTERS), "bias": ("bias", AS_STORED)}
_INTO_HEADS: Leaves = {"weight": ("kernel", INTO_HEADS), "bias": ("bias", FLAT)}
_OUT_OF_HEADS: Leaves = {"weight": ("kernel", OUT_OF_HEADS), "bias": ("bias", AS_STORED)}
_IN_PROJ: Leaves = {"in_proj_weight": ("kernel", INTO_HEADS), "in_proj_bias": ("bias", FLAT)}
_POSITIONS: Leaves = {"weight": ("", POSITIONS)}
_ATTENTION = "MultiHeadDotProductAttention_0"
_INWARD = ("query", "key", "value")

SCALARS = (Row("logit_scale", "t", {"": ("", FLAT)}), Row("logit_bias", "b", {"": ("", FLAT)}))

_LAYER = (
    Row("layer_norm1", "LayerNorm_0", _NORM),
    Row("self_attn.q_proj", f"{_ATTENTION}/query", _INTO_HEADS),
    Row("self_attn.k_proj", f"{_ATTENTION}/key", _INTO_HEADS),
    Row("self_attn.v_proj", f"{_ATTENTION}/value", _INTO_HEADS),
    Row("self_attn.out_proj", f"{_ATTENTION}/out", _OUT_OF_HEADS),
    Row("layer_norm2", "LayerNorm_1", _NORM),
    Row("mlp.fc1", "MlpBlock_0/Dense_0", _DENSE),
    Row("mlp.fc2", "MlpBlock_0/Dense_1", _DENSE),
)


def vision_table(checkpoint: Checkpoint, prefix: str) -> TowerTable:
    """The table of the vision tower, in the form that this checkpoint has.

    A convolution cuts images into patches; in NaFlex they come cut, and a linear map takes its place. Files
    from before 2022 keep positions inside the encoder, and some of them the pooling head's parts beside it.
    """
    has_convolution = len(checkpoint[f"{prefix}{MARK}"].shape) == 4
    homes = ("pos_embedding", "Transformer/pos_embedding", "Transformer/posembed_input/pos_embedding")
    positions = next((home for home in homes if prefix + home in checkpoint), homes[0])
    head = "" if f"{prefix}probe" in checkpoint else "MAPHead_0/"
    pooled = any(name.startswith(f"{prefix}{head}probe") for name in checkpoint)
    return TowerTable(
        layout=LAYOUT,
        ours="vision_model.",
        separator="/",
        outside=(
            Row("embeddings.patch_embedding", "embedding", _CONVOLUTION if has_convolution else _DENSE),
            Row("embeddings.position_embedding", positions, _POSITIONS),
            Row("post_layernorm", "Transformer/encoder_norm", _NORM),
        ),
        layers="Transformer/encoderblock_{}",
        stacked_layers="Transformer/encoderblock",
        layer=_LAYER,
        head=(
            Row("head.probe", f"{head}probe", WHOLE),
            Row(
                "head.attention",
                tuple(f"{head}{_ATTENTION}/{name}" for name in _INWARD),
                _IN_PROJ,
            ),
            Row("head.attention.out_proj", f"{head}{_ATTENTION}/out", _OUT_OF_HEADS),
            Row("head.layernorm", f"{head}LayerNorm_0", _NORM),
            Row("head.mlp.fc1", f"{head}MlpBlock_0/Dense_0", _DENSE),
            Row("head.mlp.fc2", f"{head}MlpBlock_0/Dense_1", _DENSE),
        ),
        # In PaliGemma a map of the tokens into the language model; no SigLIP maps its embedding.
        left_out=() if pooled else ("head/",),
    )


def text_table(checkpoint: Checkpoint, prefix: str) -> TowerTable:
    """The table of the text tower; in some old files positions were learned at two places and are summed."""
    twice = ("pos_embedding", "Encoder_0/pos_embedding")
    return TowerTable(
        layout=LAYOUT,
        ours="text_model.",
        separator="/",
        outside=(
            Row("embeddings.token_embedding", "Embed_0", {"weight": ("embedding", AS_STORED)}),
            Row("embeddings.position_embedding", twice, _POSITIONS, summed=True)
            if prefix + twice[1] in checkpoint
            else Row("embeddings.position_embedding", twice[0], _POSITIONS),
            Row("final_layer_norm", "Encoder_0/encoder_norm", _NORM),
        ),
        layers="Encoder_0/encoderblock_{}",
        stacked_layers="Encoder_0/encoderblock",
        layer=_LAYER,
        head=(Row("head", "head", _DENSE),),
    )


def num_heads(checkpoint: Checkpoint, prefix: str) -> int | None:
    """Attention heads of the tower with this prefix: the last axis but one of any map into heads."""
    for name in checkpoint:
        if name.startswith(prefix) and name.endswith(f"/{_ATTENTION}/query/kernel"):
            shape = checkpoint[name].shape
            return shape[-2] if len(shape) >= 3 else None
    return None
