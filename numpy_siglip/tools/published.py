"""The published checkpoints: what each one is called and how its vision tower is shaped.

Sizes follow ``decode_variant`` in big_vision's ``models/vit.py``; names are those of the Hugging
Face hub, as listed by transformers' conversion scripts and the model cards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..config.naflex_configuration import Siglip2VisionConfig, VisionConfig
from ..config.vision_configuration import SiglipVisionConfig
from ..weights.vision_weights import count_vision_parameters
from .vision_cost import total_cost, vision_costs

_SIZES = {
    "base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
    "so400m": {
        "hidden_size": 1152,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "intermediate_size": 4304,
    },
    "giant-opt": {
        "hidden_size": 1536,
        "num_hidden_layers": 40,
        "num_attention_heads": 16,
        "intermediate_size": 6144,
    },
}


@dataclass(frozen=True)
class PublishedCheckpoint:
    """One repository on the hub.

    Parameters
    ----------
    repository : str
    family : str
        ``"SigLIP"``, ``"SigLIP 2"``, ``"SigLIP 2 NaFlex"``, or the model that holds the tower.
    size : str
        ``base``, ``large``, ``so400m`` or ``giant-opt``.
    config : SiglipVisionConfig or Siglip2VisionConfig
        NaFlex, whose images have any aspect ratio, has no image size; its tokens are those of its image
        processor's default budget.

    Examples
    --------
    >>> base = find_published("google/siglip-base-patch16-224")
    >>> base.num_tokens, base.num_parameters, round(base.gflops, 1)
    (196, 92884224, 35.6)
    """

    repository: str
    family: str
    size: str
    config: VisionConfig

    @property
    def num_tokens(self) -> int:
        """Tokens of one image."""
        return self.config.num_patches

    @property
    def num_parameters(self) -> int:
        """Parameters of the vision tower."""
        return count_vision_parameters(self.config)

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations for one image."""
        return total_cost(vision_costs(self.config)).flops / 1e9


def _checkpoint(
    repository: str, family: str, size: str, patch: int, image: int, head: bool = True
) -> PublishedCheckpoint:
    config = SiglipVisionConfig(**_SIZES[size], patch_size=patch, image_size=image, vision_use_head=head)  # type: ignore[arg-type]
    return PublishedCheckpoint(repository, family, size, config)


def _siglip() -> Iterator[PublishedCheckpoint]:
    for image in (224, 256, 384, 512):
        yield _checkpoint(f"google/siglip-base-patch16-{image}", "SigLIP", "base", 16, image)
    yield _checkpoint("google/siglip-base-patch16-256-multilingual", "SigLIP", "base", 16, 256)
    for image in (256, 384):
        yield _checkpoint(f"google/siglip-large-patch16-{image}", "SigLIP", "large", 16, image)
    for image in (224, 384):
        yield _checkpoint(f"google/siglip-so400m-patch14-{image}", "SigLIP", "so400m", 14, image)
    yield _checkpoint("google/siglip-so400m-patch16-256-i18n", "SigLIP", "so400m", 16, 256)


def _siglip2() -> Iterator[PublishedCheckpoint]:
    resolutions = {
        ("base", 32): (256,),
        ("base", 16): (224, 256, 384, 512),
        ("large", 16): (256, 384, 512),
        ("so400m", 14): (224, 384),
        ("so400m", 16): (256, 384, 512),
        ("giant-opt", 16): (256, 384),
    }
    for (size, patch), images in resolutions.items():
        for image in images:
            yield _checkpoint(f"google/siglip2-{size}-patch{patch}-{image}", "SigLIP 2", size, patch, image)
    for size in ("base", "so400m"):
        config = Siglip2VisionConfig(**_SIZES[size])  # type: ignore[arg-type]
        yield PublishedCheckpoint(f"google/siglip2-{size}-patch16-naflex", "SigLIP 2 NaFlex", size, config)


def _towers_of_other_models() -> Iterator[PublishedCheckpoint]:
    yield _checkpoint("google/medsiglip-448", "MedSigLIP", "so400m", 14, 448)
    for image in (224, 448, 896):
        yield _checkpoint(f"google/paligemma-3b-pt-{image}", "PaliGemma", "so400m", 14, image, head=False)
    yield _checkpoint("google/gemma-3-4b-it", "Gemma 3", "so400m", 14, 896, head=False)


PUBLISHED_CHECKPOINTS: tuple[PublishedCheckpoint, ...] = (
    *_siglip(),
    *_siglip2(),
    *_towers_of_other_models(),
)


def find_published(repository: str) -> PublishedCheckpoint:
    """The checkpoint of this repository.

    Raises
    ------
    KeyError
        If it is not in the table.

    Examples
    --------
    >>> find_published("google/siglip-so400m-patch14-384").num_tokens
    729
    """
    for checkpoint in PUBLISHED_CHECKPOINTS:
        if checkpoint.repository == repository:
            return checkpoint
    raise KeyError(repository)


def published_report() -> list[dict[str, Any]]:
    """The table as plain values that JSON can hold.

    Examples
    --------
    >>> published_report()[0]["config"]["image_size"]
    224
    """
    return [
        {
            "repository": checkpoint.repository,
            "family": checkpoint.family,
            "config": checkpoint.config.to_dict(),
            "tokens": checkpoint.num_tokens,
            "parameters": checkpoint.num_parameters,
            "gflops": checkpoint.gflops,
        }
        for checkpoint in PUBLISHED_CHECKPOINTS
    ]


def published_table() -> str:
    r"""The table as Markdown, the one in docs/published-checkpoints.md.

    Examples
    --------
    >>> print("\n".join(published_table().splitlines()[:3]))
    | checkpoint | family | image | patch | tokens | width | layers | parameters | GFLOP per image |
    |---|---|--:|--:|--:|--:|--:|--:|--:|
    | `google/siglip-base-patch16-224` | SigLIP | 224 | 16 | 196 | 768 | 12 | 92.9 M | 36 |
    """
    lines = [
        "| checkpoint | family | image | patch | tokens | width | layers | parameters | GFLOP per image |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for checkpoint in PUBLISHED_CHECKPOINTS:
        config = checkpoint.config
        image = config.image_size if isinstance(config, SiglipVisionConfig) else "any"
        lines.append(
            f"| `{checkpoint.repository}` | {checkpoint.family} | {image} | {config.patch_size} "
            f"| {checkpoint.num_tokens} | {config.hidden_size} | {config.num_hidden_layers} "
            f"| {checkpoint.num_parameters / 1e6:.1f} M | {checkpoint.gflops:.0f} |"
        )
    return "\n".join(lines)
