"""SigLIP on one page: how well each of several texts fits an image. Begin with `siglip`, at the end.

    python examples/siglip_on_one_page.py numpy_siglip/emoji/lion.png "a lion" "a tiger" "a pizza"

Shapes: T tokens (patches, or pieces of a text), D hidden_size, F intermediate_size, H num_attention_heads,
Q queries (T or 1), C num_channels, S image_size, P patch_size, N texts, E numbers to an embedding (here D).
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file
from tokenizers import Tokenizer

MODEL = Path(__file__).parents[1] / "numpy_siglip" / "emoji"


def gelu(x):  # gelu_pytorch_tanh: keeps what is well above zero, drops what is well below, bends in between
    return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))  # (T, F)


def layer_norm(x, weight, bias, eps=1e-6):  # brings each token to mean 0 and variance 1, then rescales it
    normed = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)  # (T, D)
    return normed * weight + bias  # (T, D) * (D) + (D) -> (T, D)


def linear(x, weight, bias):  # multiplies each token by a learned matrix
    return x @ weight.T + bias  # (T, in) @ (in, out) + (out) -> (T, out)


def mlp(x, fc1, fc2):  # transforms each token by itself
    return linear(gelu(linear(x, **fc1)), **fc2)  # (T, D) -> (T, F) -> (T, D)


def attention(query, key, value, num_heads):  # for each query a mean of values, weighted by how keys match it
    query, key, value = (x.reshape(len(x), num_heads, -1) for x in (query, key, value))  # (Q or T, H, D/H)
    scores = np.einsum("qhd,thd->hqt", query, key) / key.shape[-1] ** 0.5  # (H, Q, T), scaled dot products
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))  # (H, Q, T), at most 1: none overflows
    attentions = exponentials / exponentials.sum(axis=-1, keepdims=True)  # (H, Q, T), softmax: rows sum to 1
    return np.einsum("hqt,thd->qhd", attentions, value).reshape(len(query), -1)  # (Q, H, D/H) -> (Q, D)


def encoder_layer(x, layer, num_heads):  # adds what tokens learn from one another, then what each makes of it
    normed = layer_norm(x, **layer["layer_norm1"])  # (T, D)
    query, key, value = (linear(normed, **layer["self_attn"][f"{part}_proj"]) for part in "qkv")  # (T, D)
    x = x + linear(attention(query, key, value, num_heads), **layer["self_attn"]["out_proj"])  # (T, D)
    return x + mlp(layer_norm(x, **layer["layer_norm2"]), **layer["mlp"])  # (T, D)


def patch_embedding(pixel_values, weight, bias):  # cuts the image into squares, and makes a token of each
    (channels, size, _), patch = pixel_values.shape, weight.shape[-1]  # (C, S, S), (D, C, P, P)
    grid = pixel_values.reshape(channels, size // patch, patch, size // patch, patch)  # (C, S/P, P, S/P, P)
    patches = grid.transpose(1, 3, 0, 2, 4).reshape(-1, channels * patch * patch)  # (T, C P P), row by row
    return linear(patches, weight.reshape(len(weight), -1), bias)  # (T, C P P) -> (T, D)


def pooling_head(tokens, head, num_heads):  # makes one token of all: attention with a single, learned query
    in_proj = head["attention"]["in_proj_weight"], head["attention"]["in_proj_bias"]  # (3 D, D), (3 D)
    query, _, _ = np.split(linear(head["probe"][0], *in_proj), 3, axis=-1)  # (1, D): the probe only asks
    _, key, value = np.split(linear(tokens, *in_proj), 3, axis=-1)  # (T, D) -> (T, 3 D) -> (T, D) each
    x = linear(attention(query, key, value, num_heads), **head["attention"]["out_proj"])  # (1, D)
    return (x + mlp(layer_norm(x, **head["layernorm"]), **head["mlp"]))[0]  # (1, D) -> (E)


def vision_tower(pixel_values, config, embeddings, encoder, post_layernorm, head):
    x = patch_embedding(pixel_values, **embeddings["patch_embedding"])  # (C, S, S) -> (T, D)
    x = x + embeddings["position_embedding"]["weight"]  # (T, D), tells where in the image each patch was
    for index in range(config["num_hidden_layers"]):
        x = encoder_layer(x, encoder["layers"][str(index)], config["num_attention_heads"])  # (T, D)
    last_hidden_state = layer_norm(x, **post_layernorm)  # (T, D)
    return pooling_head(last_hidden_state, head, config["num_attention_heads"])  # (T, D) -> (E)


def text_tower(input_ids, config, embeddings, encoder, final_layer_norm, head):
    x = embeddings["token_embedding"]["weight"][input_ids]  # (T) -> (T, D)
    x = x + embeddings["position_embedding"]["weight"]  # (T, D), tells where in the text each token stands
    for index in range(config["num_hidden_layers"]):
        x = encoder_layer(x, encoder["layers"][str(index)], config["num_attention_heads"])  # (T, D)
    last_hidden_state = layer_norm(x, **final_layer_norm)  # (T, D)
    return linear(last_hidden_state[-1], **head)  # (D) -> (E): the last token stands for all


def siglip(image_file, texts):  # the embedding of the image (E), and the probability of each text (N)
    config = json.loads((MODEL / "config.json").read_text())
    settings = json.loads((MODEL / "preprocessor_config.json").read_text())
    weights = {}  # "text_model.head.bias" in the file becomes weights["text_model"]["head"]["bias"]
    for name, array in load_file(MODEL / "model.safetensors").items():
        branch, (*parents, last) = weights, name.split(".")
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = array.astype(np.float32)

    image = Image.open(image_file).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image = image.resize((settings["size"]["width"], settings["size"]["height"]), settings["resample"])
    pixels = (np.asarray(image) * settings["rescale_factor"] - settings["image_mean"]) / settings["image_std"]
    pixel_values = pixels.astype(np.float32).transpose(2, 0, 1)  # (S, S, C) -> (C, S, S), from -1 to 1
    pooler_output = vision_tower(pixel_values, config["vision_config"], **weights["vision_model"])  # (E)
    image_embeds = pooler_output / np.linalg.norm(pooler_output)  # (E), of length 1

    tokenizer, text_config = Tokenizer.from_file(str(MODEL / "tokenizer.json")), config["text_config"]
    length, pad_id = text_config["max_position_embeddings"], text_config["pad_token_id"]
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=pad_id)  # and there is no mask: padding is attended to
    prompts = tokenizer.encode_batch([f"This is a photo of {text}." for text in texts])  # N of T tokens
    pooled = [text_tower(prompt.ids, text_config, **weights["text_model"]) for prompt in prompts]  # N of (E)
    text_embeds = pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)  # (N, E), each of length 1
    logits = text_embeds @ image_embeds * np.exp(weights["logit_scale"]) + weights["logit_bias"]  # (N)
    return image_embeds, 1 / (1 + np.exp(-logits))  # (E), (N): the sigmoid of each logit by itself


if __name__ == "__main__":
    image_file, *texts = sys.argv[1:] or [MODEL / "lion.png"]
    texts = texts or ["a lion", "a tiger", "a pizza"]
    for text, probability in zip(texts, siglip(image_file, texts)[1], strict=True):
        print(f"{probability:10.4g}  {text}")
