"""Configurations, with the field names and the defaults of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..common.checks import check_count, check_mapping, shown
from ..errors import ConfigError
from .config_section import (
    FULL_MODEL_TYPE,
    ConfigSection,
    WritableConfig,
    refuse_other_family,
)
from .text_configuration import SiglipTextConfig
from .vision_configuration import SiglipVisionConfig

_MOST_LABELS = 2**20

__all__ = ["FULL_MODEL_TYPE", "SiglipConfig", "SiglipTextConfig", "SiglipVisionConfig"]


@dataclass(frozen=True)
class SiglipConfig(WritableConfig):
    """Shape of a whole SigLIP model.

    Parameters
    ----------
    text_config : SiglipTextConfig, mapping or None
        A mapping is read as by `SiglipTextConfig.from_dict`; None means all defaults.
    vision_config : SiglipVisionConfig, mapping or None
        Likewise.
    id2label : mapping of int to str
        The classes of `SiglipForImageClassification`, numbered from 0 on; by default two without names.
    problem_type : str, optional
        What a classifier was trained for, as transformers has it: ``"multi_label_classification"`` where
        several labels may be right.

    Raises
    ------
    ConfigError
        If it is something else, or a value is impossible.

    Examples
    --------
    >>> values = {"vision_config": {"hidden_size": 1152, "num_attention_heads": 16}}
    >>> config = SiglipConfig.from_dict(values)
    >>> config.vision_config.hidden_size, config.text_config.hidden_size
    (1152, 768)
    """

    model_type: ClassVar[str] = FULL_MODEL_TYPE
    text_config: SiglipTextConfig = field(default_factory=SiglipTextConfig)
    vision_config: SiglipVisionConfig = field(default_factory=SiglipVisionConfig)
    id2label: Mapping[int, str] = field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"}, hash=False)

    problem_type: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id2label", _labels(self.id2label))
        if self.problem_type is not None and not isinstance(self.problem_type, str):
            raise ConfigError(f"problem_type is {shown(self.problem_type)}; it must be a text, or null")
        for name, kind in self._parts().items():
            part = getattr(self, name)
            if not isinstance(part, kind):
                values = {} if part is None else check_mapping(name, part)
                try:
                    object.__setattr__(self, name, kind.from_dict(values))
                except ConfigError as error:
                    raise ConfigError(f"{name}: {error}") from None

    @classmethod
    def _parts(cls) -> dict[str, type[ConfigSection]]:
        """The sections of the file, and what reads each."""
        return {"text_config": SiglipTextConfig, "vision_config": SiglipVisionConfig}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SiglipConfig:
        """Read what transformers writes for ``SiglipModel``; a section that is left out means all defaults.

        Raises
        ------
        ConfigError
            If it describes another kind of model, or one tower alone, or a value is impossible.
        """
        values = check_mapping("the configuration", values)
        model_type = values.get("model_type", cls.model_type)
        refuse_other_family(cls.__name__, "model_type", model_type)
        if model_type != cls.model_type:
            raise ConfigError(
                f"model_type is {shown(model_type)}; a whole model has {cls.model_type!r}, "
                "and a tower is read by the class of its own configuration"
            )
        fields: dict[str, Any] = {name: values.get(name) for name in cls._parts()}
        fields["problem_type"] = values.get("problem_type")
        if values.get("id2label") is not None:
            fields["id2label"] = values["id2label"]
        elif values.get("num_labels") is not None:
            count = check_count("num_labels", values["num_labels"], largest=_MOST_LABELS)
            fields["id2label"] = {number: f"LABEL_{number}" for number in range(count)}
        return cls(**fields)

    @property
    def num_labels(self) -> int:
        """How many classes a classifier tells apart."""
        return len(self.id2label)

    @property
    def label2id(self) -> dict[str, int]:
        """The number of each class."""
        return {label: number for number, label in self.id2label.items()}

    def to_dict(self) -> dict[str, Any]:
        """All fields, and the model type that transformers gives them."""
        sections = {name: getattr(self, name).to_dict() for name in self._parts()}
        labels = {"id2label": dict(self.id2label), "label2id": self.label2id}
        trained_for = {} if self.problem_type is None else {"problem_type": self.problem_type}
        return {"model_type": self.model_type, **sections, **labels, **trained_for}


def _labels(id2label: Any) -> dict[int, str]:
    """Names of classes by their number, in order; JSON has the numbers as strings."""
    labels = check_mapping("id2label", id2label)
    numbers = {str(number): name for number, name in labels.items()}
    ordered = [numbers.get(str(number)) for number in range(len(labels))]
    if not all(isinstance(name, str) for name in ordered):
        raise ConfigError(
            f"id2label is {shown(dict(labels))}; it must name the classes from 0 to {len(labels) - 1}"
        )
    return {number: str(name) for number, name in enumerate(ordered)}
