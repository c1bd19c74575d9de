"""Batches of images with different numbers of patches: what is checked of them, cut off, and put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..common.checks import as_array
from ..config.naflex_configuration import Siglip2VisionConfig
from ..errors import ImageError
from .trace import Stage


class PatchBatch(NamedTuple):
    """Patches of several images, known to fit each other and the model."""

    patches: np.ndarray
    """float32 (batch, length, features)"""
    grids: list[tuple[int, int]]
    """Rows and columns of each image; their product is how many of its rows are its own."""

    @classmethod
    def of(
        cls, pixel_values: Any, pixel_attention_mask: Any, spatial_shapes: Any, config: Siglip2VisionConfig
    ) -> PatchBatch:
        """Check the input of a NaFlex tower; see `Siglip2VisionModel`.

        Raises
        ------
        ImageError
            The message gives the shape, or the image and its numbers.

        Examples
        --------
        >>> patches = np.zeros((1, 6, 768), np.float32)
        >>> PatchBatch.of(patches, None, [[2, 3]], Siglip2VisionConfig()).grids
        [(2, 3)]
        >>> PatchBatch.of(patches, None, [[2, 4]], Siglip2VisionConfig())
        Traceback (most recent call last):
            ...
        numpy_siglip.errors.ImageError: spatial_shapes[0] is 2 x 4, but pixel_values has 6 patches an image
        """
        patches = as_array("pixel_values", pixel_values, ImageError)
        wanted = f"(batch, patches, {config.patch_features})"
        if patches.dtype.kind != "f":
            raise ImageError(
                f"pixel_values has dtype {patches.dtype}; the model takes floats, "
                "which Siglip2ImageProcessor makes from images"
            )
        if patches.ndim != 3 or patches.shape[2] != config.patch_features:
            raise ImageError(
                f"pixel_values has shape {patches.shape}; the model takes {wanted}, "
                "which Siglip2ImageProcessor makes from images"
            )
        grids = _grids(spatial_shapes, *patches.shape[:2])
        if pixel_attention_mask is not None:
            mask = as_array("pixel_attention_mask", pixel_attention_mask, ImageError)
            _check_mask(mask, grids, patches.shape[1])
        return cls(patches.astype(np.float32, copy=False), grids)

    def by_token_count(self) -> dict[int, list[int]]:
        """The images of each number of patches; of a batch without images, none of the largest.

        Examples
        --------
        >>> PatchBatch(np.zeros((3, 6, 1)), [(2, 3), (1, 4), (3, 2)]).by_token_count()
        {6: [0, 2], 4: [1]}
        """
        groups: dict[int, list[int]] = {}
        for image, (rows, columns) in enumerate(self.grids):
            groups.setdefault(rows * columns, []).append(image)
        return groups or {self.patches.shape[1]: []}


def _grids(spatial_shapes: Any, batch: int, length: int) -> list[tuple[int, int]]:
    shapes = as_array("spatial_shapes", spatial_shapes, ImageError)
    if shapes.dtype.kind not in "iu" or shapes.shape != (batch, 2):
        raise ImageError(
            f"spatial_shapes has shape {shapes.shape} and dtype {shapes.dtype}; the model takes integers of "
            f"shape ({batch}, 2): rows and columns of each image's patches"
        )
    grids = [(int(rows), int(columns)) for rows, columns in shapes]
    for image, (rows, columns) in enumerate(grids):
        if rows < 1 or columns < 1 or rows * columns > length:
            raise ImageError(
                f"spatial_shapes[{image}] is {rows} x {columns}, "
                f"but pixel_values has {length} patches an image"
            )
    return grids


def _check_mask(mask: np.ndarray, grids: list[tuple[int, int]], length: int) -> None:
    if mask.shape != (len(grids), length) or mask.dtype.kind not in "biuf":
        raise ImageError(
            f"pixel_attention_mask has shape {mask.shape} and dtype {mask.dtype}; the model takes a number "
            f"for each patch: ({len(grids)}, {length})"
        )
    if not np.isin(mask, (0, 1)).all():
        raise ImageError("pixel_attention_mask holds something else than 0 and 1")
    for image, ((rows, columns), own) in enumerate(zip(grids, mask != 0, strict=True)):
        count = int(own.sum())
        if not own[:count].all():
            raise ImageError(
                f"pixel_attention_mask[{image}] has a zero before a one; an image's own patches come first, "
                "and padding last"
            )
        if count != rows * columns:
            raise ImageError(
                f"pixel_attention_mask[{image}] marks {count} patches, but spatial_shapes[{image}] is "
                f"{rows} x {columns}"
            )


def token_axes(stage: str, array: np.ndarray) -> tuple[int, ...]:
    """Which axes of a stage of a vision tower run over tokens.

    Examples
    --------
    >>> token_axes("embeddings", np.ones((1, 4, 8))), token_axes("head", np.ones((1, 8)))
    ((1,), ())
    >>> token_axes("encoder/layers/00/attention/weights", np.ones((1, 2, 4, 4)))
    (2, 3)
    """
    if array.ndim == 4:  # (batch, heads, queries, keys), where the pooling head has one query, its probe
        return (3,) if stage.startswith("head/") else (2, 3)
    return (1,) if array.ndim == 3 else ()


def without_padding(stage: str, array: np.ndarray, grids: Sequence[tuple[int, int]]) -> np.ndarray:
    """A stage of transformers' tower, which holds numbers where there is padding, with zeros there.

    Examples
    --------
    >>> without_padding("embeddings", np.ones((1, 4, 1)), [(1, 3)])[0, :, 0].tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    cleared = array.copy()
    for image, (rows, columns) in enumerate(grids):
        for axis in token_axes(stage, array):
            np.moveaxis(cleared[image], axis - 1, 0)[rows * columns :] = 0
    return cleared


class PaddedStages:
    """Puts the stages of a batch together that went through a tower in groups of equal token counts.

    Parameters
    ----------
    stage : Stage
        Gets the padded array of each stage that it wants, as soon as all groups have passed it.
    batch : PatchBatch

    Examples
    --------
    >>> seen = {}
    >>> batch = PatchBatch(np.zeros((2, 3, 1)), [(1, 1), (1, 2)])
    >>> stages = PaddedStages(Stage(seen.__setitem__), batch)
    >>> for image in (0, 1):
    ...     _ = stages.of([image])("embeddings", np.ones((1, image + 1, 1), np.float32))
    >>> seen["embeddings"][..., 0].tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """

    def __init__(self, stage: Stage, batch: PatchBatch) -> None:
        self._stage = stage
        self._batch_size, self._length = batch.patches.shape[:2]
        self._num_groups = len(batch.by_token_count())
        self._waiting: dict[str, tuple[np.ndarray, int]] = {}

    def of(self, images: list[int]) -> Stage:
        """The stage of a group, which wants what the stage of the whole batch wants."""
        if not self._stage.is_heard:
            return Stage()
        return Stage(lambda name, array: self._collect(images, name, array), self._stage.wants)

    def _collect(self, images: list[int], name: str, array: np.ndarray) -> None:
        axes = token_axes(name, array)
        padded, passed = self._waiting.pop(name, (None, 0))
        if padded is None:
            shape = [self._length if axis in axes else size for axis, size in enumerate(array.shape)]
            padded = np.zeros((self._batch_size, *shape[1:]), array.dtype)
        # Of an axis that was padded, the beginning; of another, all.
        own: Any = (images, *(slice(size) for size in array.shape[1:]))
        padded[own] = array
        if passed + 1 == self._num_groups:
            self._stage(name, padded)
        else:
            self._waiting[name] = padded, passed + 1
