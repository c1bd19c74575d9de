"""Named stages of a forward pass: how a model lets itself be watched.

A model calls its `Stage` at every step, which hands the name and the array to a listener and
returns the array, so that watching changes nothing about the computation:

    hidden = stage("layer_norm1", ops.layer_norm(hidden, ...))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..common.checks import check_flag

Listener = Callable[[str, np.ndarray], object]

LAYER_STAGES = (
    "layer_norm1",
    "attention/query",
    "attention/key",
    "attention/value",
    "attention/weights",
    "attention/heads",
    "attention",
    "layer_norm2",
    "mlp/activation",
)
"""The stages inside an encoder layer. ``attention/heads`` are the heads' results side by side, ``attention``
the residual stream after the first sum."""


def everything(name: str) -> bool:
    """Want every stage, whatever its name.

    Examples
    --------
    >>> everything("embeddings")
    True
    """
    return True


def all_but_attention_weights(name: str) -> bool:
    """Want every stage but attention weights, which are large.

    Examples
    --------
    >>> all_but_attention_weights("embeddings"), all_but_attention_weights("head/attention/weights")
    (True, False)
    """
    return not name.endswith("attention/weights")


class Stage:
    """Reports arrays to a listener under names that form paths, and knows which it wants.

    Parameters
    ----------
    listener : callable, optional
        Called with the full name and the array of each stage that is wanted.
    wanted : callable
        Tells of a full name whether the listener wants that stage. What nobody wants need not be computed
        by itself.
    path : str
        Put before every name.

    Examples
    --------
    >>> seen = {}
    >>> stage = Stage(seen.__setitem__, wanted=lambda name: name.endswith("attention"))
    >>> layer = stage.within("encoder/layers/03")
    >>> layer("attention", np.ones(2))
    array([1., 1.])
    >>> seen, layer.wants("layer_norm1"), layer.wants("layer_norm1", "attention")
    ({'encoder/layers/03/attention': array([1., 1.])}, False, True)
    """

    def __init__(
        self,
        listener: Listener | None = None,
        wanted: Callable[[str], bool] = everything,
        path: str = "",
    ) -> None:
        self._listener = listener
        self._wanted = wanted
        self._path = path

    def __call__(self, name: str, array: np.ndarray) -> np.ndarray:
        """Report an array, if it is wanted, and return it."""
        if self._listener is not None and self._wanted(self._path + name):
            self._listener(self._path + name, array)
        return array

    @property
    def is_heard(self) -> bool:
        """Whether there is a listener at all."""
        return self._listener is not None

    def wants(self, *names: str) -> bool:
        """Whether there is a listener that wants one of these stages."""
        return self._listener is not None and any(self._wanted(self._path + name) for name in names)

    def within(self, name: str) -> Stage:
        """A stage whose names begin with this one."""
        return Stage(self._listener, self._wanted, f"{self._path}{name}/")


def collect_stages(
    run: Callable[[Stage], object], listener: Listener | None, output_attentions: bool
) -> dict[str, np.ndarray]:
    """Run a forward pass and hand out every named stage.

    Parameters
    ----------
    run : callable
        Takes the stage to report to.
    listener : callable, optional
        Gets every stage as soon as it exists; without one, all are kept and returned.
    output_attentions : bool
        Whether attention weights are among them.

    Examples
    --------
    >>> collect_stages(lambda stage: stage("head", np.ones(2)), None, output_attentions=True)
    {'head': array([1., 1.])}
    """
    stages: dict[str, np.ndarray] = {}
    wanted = (
        everything
        if check_flag("output_attentions", output_attentions, default=True)
        else all_but_attention_weights
    )
    run(Stage(listener or stages.__setitem__, wanted))
    return stages


def layer_path(index: int) -> str:
    """Path of an encoder layer.

    Examples
    --------
    >>> layer_path(3)
    'encoder/layers/03'
    """
    return f"encoder/layers/{index:02d}"


class LayerRecorder:
    """A listener that keeps what a model's output may hold: states after layers, and attention weights.

    Parameters
    ----------
    num_layers : int
    states : bool or None
        Keep the embeddings and the result of every layer; what a call has as ``output_hidden_states``.
    maps : bool or None
        Keep the attention weights of every layer; what a call has as ``output_attentions``.

    Raises
    ------
    ConfigError
        If one of the two is no truth value. None is false.

    Examples
    --------
    >>> recorder = LayerRecorder(1, states=True, maps=False)
    >>> for name in ("embeddings", "encoder/layers/00/layer_norm1", "encoder/layers/00"):
    ...     recorder(name, np.ones(2))
    >>> len(recorder.hidden_states), recorder.attentions
    (2, None)
    """

    def __init__(self, num_layers: int, *, states: bool | None, maps: bool | None) -> None:
        states = check_flag("output_hidden_states", states, default=False)
        maps = check_flag("output_attentions", maps, default=False)
        layers = [layer_path(index) for index in range(num_layers)]
        maps_of_layers = [f"{layer}/attention/weights" for layer in layers]
        self._states: dict[str, Any] = dict.fromkeys(["embeddings", *layers] if states else [])
        self._maps: dict[str, Any] = dict.fromkeys(maps_of_layers if maps else [])

    def keeps(self, name: str) -> bool:
        """Whether the stage of this name is to be kept."""
        return name in self._states or name in self._maps

    def __call__(self, name: str, array: np.ndarray) -> None:
        """Keep an array if its stage is to be kept."""
        for kept in (self._states, self._maps):
            if name in kept:
                kept[name] = array

    @property
    def stage(self) -> Stage:
        """Reports to this recorder what it keeps; if that is nothing, it reports to nobody."""
        return Stage(self if self._states or self._maps else None, self.keeps)

    @property
    def hidden_states(self) -> tuple[np.ndarray, ...] | None:
        """The embeddings, then the result of each layer; None if they were not to be kept."""
        return tuple(self._states.values()) or None

    @property
    def attentions(self) -> tuple[np.ndarray, ...] | None:
        """Attention weights of each layer; None if they were not to be kept."""
        return tuple(self._maps.values()) or None
