"""Configurations of towers of either kind: of a fixed resolution, or NaFlex."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..common.checks import check_mapping
from .config_section import ConfigSection, ReadableConfig, is_naflex_type
from .configuration import SiglipTextConfig, SiglipVisionConfig
from .naflex_configuration import Siglip2TextConfig, Siglip2VisionConfig


class _AnyTowerConfig(ReadableConfig):
    """Reads the configuration of a tower, and chooses its class by what the values say they are."""

    fixed_class: ClassVar[type[ConfigSection]]
    naflex_class: ClassVar[type[ConfigSection]]

    @classmethod
    def classes(cls) -> tuple[type[ReadableConfig], ...]:
        """Of which classes the configurations are that this one reads: one for each kind of tower."""
        return cls.fixed_class, cls.naflex_class

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Any:
        """A configuration of the one class or of the other.

        Raises
        ------
        ConfigError
            If a value is impossible, or they describe no such tower of SigLIP.
        """
        values = check_mapping("the configuration", values)
        section = values.get(cls.fixed_class.section)
        inner = section.get("model_type") if isinstance(section, Mapping) else None
        naflex = is_naflex_type(values.get("model_type")) or is_naflex_type(inner)
        return (cls.naflex_class if naflex else cls.fixed_class).from_dict(values)


class AnyVisionConfig(_AnyTowerConfig):
    """Reads a `SiglipVisionConfig` or a `Siglip2VisionConfig`.

    Examples
    --------
    >>> type(AnyVisionConfig.from_dict({"model_type": "siglip2"})).__name__
    'Siglip2VisionConfig'
    >>> type(AnyVisionConfig.from_dict({"model_type": "siglip"})).__name__
    'SiglipVisionConfig'
    """

    fixed_class: ClassVar[type[ConfigSection]] = SiglipVisionConfig
    naflex_class: ClassVar[type[ConfigSection]] = Siglip2VisionConfig


class AnyTextConfig(_AnyTowerConfig):
    """Reads a `SiglipTextConfig` or a `Siglip2TextConfig`.

    Examples
    --------
    >>> type(AnyTextConfig.from_dict({"model_type": "siglip2"})).__name__
    'Siglip2TextConfig'
    """

    fixed_class: ClassVar[type[ConfigSection]] = SiglipTextConfig
    naflex_class: ClassVar[type[ConfigSection]] = Siglip2TextConfig
