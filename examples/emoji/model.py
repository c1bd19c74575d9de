"""The size of the model, its loss, and how a checkpoint of it is kept while it trains."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from captions import CONTEXT
from torch import Tensor
from torch.nn import functional
from transformers import SiglipConfig, SiglipModel

WIDTH = 192
SIDE = 64
PATCH = 8


def configuration(vocabulary: int, side: int = SIDE) -> SiglipConfig:
    """Return a SigLIP of 3.4 million parameters, 6.9 MB in float16, for pictures of side x side pixels."""
    # The ids of PAD, END in captions.py; SigLIP 1 fills up with the end token too.
    special = {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1}
    return SiglipConfig(
        vision_config={
            "hidden_size": WIDTH,
            "intermediate_size": 640,
            "num_hidden_layers": 6,
            "num_attention_heads": 3,
            "image_size": side,
            "patch_size": PATCH,
        },
        text_config={
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": vocabulary,
            "max_position_embeddings": CONTEXT,
            "projection_size": WIDTH,
            **special,
        },
    )


def new_model(vocabulary: int, texts_in_batch: int) -> SiglipModel:
    """Return a model with random weights, its loss in balance from the first step.

    Of the pairs of a batch only one in ``texts_in_batch`` belongs together. With a bias of
    -ln(texts_in_batch) the sigmoid says so from the beginning; from 0 the model would spend its first
    thousand steps on learning that number (https://arxiv.org/abs/2303.15343, section 3.2).
    """
    settings = configuration(vocabulary)
    settings._attn_implementation = "eager"
    model = SiglipModel(settings)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(10))
        model.logit_bias.fill_(-math.log(texts_in_batch))
    return model


@torch.no_grad()
def for_pictures_of(model: SiglipModel, side: int) -> SiglipModel:
    """Return the model with its positions interpolated for good, as it was trained on smaller pictures."""
    weights = model.state_dict()
    embeddings = model.vision_model.embeddings
    patches = torch.zeros(1, (side // PATCH) ** 2, WIDTH)
    positions = embeddings.interpolate_pos_encoding(patches, side, side)[0]
    weights["vision_model.embeddings.position_embedding.weight"] = positions
    smaller = SiglipModel(configuration(model.config.text_config.vocab_size, side))
    smaller.load_state_dict(weights)
    return smaller


def trained(vocabulary: int, checkpoint: Path, side: int) -> SiglipModel:
    """Return the averaged weights of a checkpoint, for pictures of side x side pixels."""
    model = new_model(vocabulary, 1)
    model.load_state_dict(torch.load(checkpoint, weights_only=False, mmap=True)["average"])
    return for_pictures_of(model, side).eval()


def sigmoid_loss(images: Tensor, texts: Tensor, belongs: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return SigLIP's loss: every pair of a picture and a text is a question of its own, yes or no.

    ``belongs`` (images, texts) is 1 where the text is the picture's and -1 elsewhere. With one picture
    for each text this is the loss of transformers' ``SiglipModel(return_loss=True)``.
    """
    images, texts = functional.normalize(images, dim=-1), functional.normalize(texts, dim=-1)
    logits = images @ texts.T * scale.exp() + bias
    return -functional.logsigmoid(belongs * logits).sum(dim=1).mean()
