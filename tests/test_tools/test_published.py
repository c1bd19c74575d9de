from __future__ import annotations

import re

import pytest
import torch
import transformers

from numpy_siglip import PUBLISHED_CHECKPOINTS, Siglip2VisionConfig
from numpy_siglip.tools.published import find_published
from numpy_siglip.tools.vision_cost import total_cost, vision_costs
from numpy_siglip.weights.vision_weights import count_vision_parameters, vision_tensor_shapes

# Width, layers, heads, MLP of each size, from the conversion script of transformers
# (models/siglip/convert_siglip_to_hf.py) and big_vision's models/vit.py.
SIZES = {
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "so400m": (1152, 27, 16, 4304),
    "giant-opt": (1536, 40, 16, 6144),
}
IDS = [checkpoint.repository for checkpoint in PUBLISHED_CHECKPOINTS]


def test_there_are_ten_siglip_and_seventeen_siglip_2_checkpoints():
    families = [checkpoint.family for checkpoint in PUBLISHED_CHECKPOINTS]
    counts = {family: families.count(family) for family in ("SigLIP", "SigLIP 2", "SigLIP 2 NaFlex")}
    assert counts == {"SigLIP": 10, "SigLIP 2": 15, "SigLIP 2 NaFlex": 2}
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("checkpoint", PUBLISHED_CHECKPOINTS, ids=IDS)
def test_shape_agrees_with_name_and_size(checkpoint):
    config = checkpoint.config
    sizes = (
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.intermediate_size,
    )
    assert sizes == SIZES[checkpoint.size]
    naflex = isinstance(config, Siglip2VisionConfig)
    side = 16 if naflex else config.image_size // config.patch_size
    assert config.num_patches == checkpoint.num_tokens == side**2
    named = re.search(
        r"siglip2?-(base|large|so400m|giant-opt)-patch(\d+)-(\d+|naflex)", checkpoint.repository
    )
    if named:
        assert named[1] == checkpoint.size
        assert int(named[2]) == config.patch_size
        assert named[3] == ("naflex" if naflex else str(config.image_size))


@pytest.mark.parametrize("checkpoint", PUBLISHED_CHECKPOINTS, ids=IDS)
def test_every_tensor_is_one_of_transformers(checkpoint):
    """transformers' own model of the same configuration, without memory behind its tensors."""
    config = getattr(transformers, type(checkpoint.config).__name__)(**checkpoint.config.to_dict())
    with torch.device("meta"):
        theirs = transformers.AutoModel.from_config(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.named_parameters()}
    assert vision_tensor_shapes(checkpoint.config) == shapes
    assert checkpoint.num_parameters == sum(tensor.numel() for tensor in theirs.parameters())


@pytest.mark.parametrize(
    ("repository", "tokens", "millions"),
    [
        # Millions of parameters of the towers as open_clip and the model cards state them.
        ("google/siglip-base-patch16-224", 196, 92.9),
        ("google/siglip-large-patch16-256", 256, 316),
        ("google/siglip-so400m-patch14-384", 729, 428),
        ("google/siglip2-giant-opt-patch16-256", 256, 1163),
        ("google/gemma-3-4b-it", 4096, 416.9),
        ("google/medsiglip-448", 1024, 429),
    ],
)
def test_stated_sizes(repository, tokens, millions):
    checkpoint = find_published(repository)
    assert checkpoint.num_tokens == tokens
    assert checkpoint.num_parameters / 1e6 == pytest.approx(millions, abs=0.6)
    assert count_vision_parameters(checkpoint.config) == checkpoint.num_parameters


@pytest.mark.parametrize(
    ("repository", "gflops"),
    # Counting matrix products alone, 2 flops a multiply-add: patches, 4 D^2 + 2 D F a token, 2 T^2 D a layer.
    [("google/siglip-base-patch16-224", 35.1), ("google/siglip-so400m-patch14-384", 666)],
)
def test_work_is_matrix_products_and_little_else(repository, gflops):
    config = find_published(repository).config
    d, f, t = config.hidden_size, config.intermediate_size, config.num_patches
    products = 2 * t * d * (3 * config.patch_size**2)
    products += config.num_hidden_layers * (2 * t * (4 * d * d + 2 * d * f) + 4 * t * t * d)
    products += 2 * t * d * 2 * d + 4 * d * d + 4 * t * d + 4 * d * f  # the pooling head
    assert products / 1e9 == pytest.approx(gflops, rel=0.01)
    assert 1.0 < total_cost(vision_costs(config)).flops / products < 1.03
    assert total_cost(vision_costs(config, batch=3)).flops == pytest.approx(
        3 * total_cost(vision_costs(config)).flops, rel=1e-3
    )
