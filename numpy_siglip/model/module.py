"""What programs ask of a model of torch, answered by models that have one device, one type and one mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..common.checks import check_flag
from ..common.spellings import dtype_name, is_device, require_cpu
from ..errors import ConfigError
from ..weights.tower_weights import Shapes, count_parameters

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..kernels.backend import Backend


class Module:
    """Base of models: the part of ``torch.nn.Module`` that a model needs to run.

    Nothing here changes a model. What asks for the state that it is in returns the model, so that calls can
    follow one another; what asks for another state is refused.

    Examples
    --------
    >>> from numpy_siglip import SiglipVisionModel
    >>> model = SiglipVisionModel.from_pretrained(model_folder)
    >>> model.eval().to("cpu").float() is model, model.device, model.dtype, model.training
    (True, 'cpu', dtype('float32'), False)
    >>> SiglipVisionModel.from_pretrained(model_folder, threads=1)
    <SiglipVisionModel: 40,602 parameters, float32, numba on 1 thread>
    """

    device: ClassVar[str] = "cpu"
    """Where everything is computed"""
    dtype: ClassVar[np.dtype] = np.dtype(np.float32)
    """Of inputs and results, whatever the linear maps are computed in"""
    training: ClassVar[bool] = False

    def __repr__(self) -> str:
        part: Any = self if hasattr(self, "ops") else self.vision_model  # type: ignore[attr-defined]
        ops: Backend = part.ops
        threads = "" if ops.threads is None else f" on {ops.threads} thread{'s' * (ops.threads > 1)}"
        return (
            f"<{type(self).__name__}: {self.num_parameters():,} parameters, {ops.dtype}, {ops.name}{threads}>"
        )

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run the model."""
        raise NotImplementedError  # every model takes inputs of its own

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Run the model, as calling it does."""
        return self(*inputs, **options)

    def eval(self) -> Self:
        """The model, which has no other mode."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Refuse to be trained; ``train(False)`` is `eval`.

        Raises
        ------
        ConfigError

        Examples
        --------
        >>> from numpy_siglip import SiglipVisionModel
        >>> SiglipVisionModel.from_pretrained(model_folder).train()
        Traceback (most recent call last):
            ...
        numpy_siglip.errors.ConfigError: models here are not trained; train in transformers, ...
        """
        if check_flag("mode", mode):
            raise ConfigError("models here are not trained; train in transformers, whose files load here")
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """The model, if no gradients are wanted.

        Raises
        ------
        ConfigError
            If they are.
        """
        if check_flag("requires_grad", requires_grad):
            raise ConfigError("models here have no gradients; leave requires_grad_ out, or pass False")
        return self

    def to(self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """The model, if it is where and what is asked for.

        Parameters
        ----------
        *args
            A device, a type of numbers, or the two.
        device : optional
        dtype : optional
        non_blocking : bool
            Has no effect.

        Raises
        ------
        ConfigError
            If another device than the processor, or another type than float32, is asked for.

        Examples
        --------
        >>> from numpy_siglip import SiglipVisionModel
        >>> SiglipVisionModel.from_pretrained(model_folder).to("cuda")
        Traceback (most recent call last):
            ...
        numpy_siglip.errors.ConfigError: device is 'cuda'; everything is computed on the CPU: pass ...
        """
        check_flag("non_blocking", non_blocking)
        for value in (*args, device, dtype):
            if value is None:
                continue
            if value is device or (value is not dtype and is_device(value)):
                require_cpu("device", value)
            elif dtype_name(value) != "float32":
                raise ConfigError(
                    f"dtype is {dtype_name(value)}; models take and return float32, and with dtype='int8' at "
                    "from_pretrained their linear maps are computed in integers"
                )
        return self

    def cpu(self) -> Self:
        """The model, which is nowhere else."""
        return self

    def float(self) -> Self:
        """The model, whose numbers are float32."""
        return self

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers were trained.

        Parameters
        ----------
        only_trainable : bool
            Of those that can be trained further, of which there is none here.
        exclude_embeddings : bool
            Without the tables of tokens and positions.

        Examples
        --------
        >>> from numpy_siglip import SiglipVisionModel
        >>> model = SiglipVisionModel.from_pretrained(model_folder)
        >>> model.num_parameters(), model.num_parameters(exclude_embeddings=True)
        (40602, 40074)
        """
        if check_flag("only_trainable", only_trainable):
            return 0
        shapes = self.tensor_shapes()
        if check_flag("exclude_embeddings", exclude_embeddings):
            tables = ("token_embedding.weight", "position_embedding.weight")
            shapes = {name: shape for name, shape in shapes.items() if not name.endswith(tables)}
        return count_parameters(shapes)

    def tensor_shapes(self) -> Shapes:
        """Name and shape of every tensor of the model, as transformers names them."""
        raise NotImplementedError  # every model has tensors of its own
