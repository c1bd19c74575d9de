"""The SigLIP text tower, written once over a table of operations.

    ids (B, T) -> token embedding + position -> L x encoder layer -> layer norm -> tokens (B, T, D)
    the last token of each text (B, D) -> head -> embedding (B, P)

The towers were trained without a mask: every token looks at every other, padding included, and the last
token, which is mostly padding, stands for the text. So the model has to be given texts of the length it was
trained on, as `SiglipTokenizer` makes them. Some towers were trained further with a mask (`attention_mask`);
the files of their tokenizers ask for it.

Zhai et al., 2023, https://arxiv.org/abs/2303.15343; ``SiglipTextModel`` in transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..common.checks import as_array, shown
from ..common.keywords import check_keywords
from ..config.configuration import SiglipTextConfig
from ..errors import TextError
from ..kernels.backend import Backend
from ..outputs import BaseModelOutputWithPooling, as_asked
from ..weights.text_weights import TextWeights, find_text_tensors, load_text_weights, text_tensor_shapes
from ..weights.tower_weights import Shapes, Tensors
from .attention_mask import AttentionMask
from .call_keywords import TEXT_KEYWORDS
from .encoder import encoder
from .tower import Tower
from .trace import LayerRecorder, Listener, Stage, collect_stages

if TYPE_CHECKING:
    from typing_extensions import Self


class SiglipTextModel(Tower):
    """Text tower of SigLIP and of fixed-resolution SigLIP 2.

    Make one with `from_pretrained`. The model is immutable and may be called from several threads.

    Parameters
    ----------
    config : SiglipTextConfig
    weights : TextWeights
        Prepared for ``ops``.
    ops : Backend
        The table of operations.

    Examples
    --------
    >>> from numpy_siglip import SiglipTextModel, SiglipTokenizer
    >>> model = SiglipTextModel.from_pretrained(model_folder)
    >>> tokenizer = SiglipTokenizer.from_pretrained(model_folder)
    >>> output = model(**tokenizer(["a photo of a cat", "a photo of a dog"]))
    >>> output.pooler_output.shape == (2, model.config.projection_size)
    True
    """

    config_class: ClassVar[type[SiglipTextConfig]] = SiglipTextConfig

    config: SiglipTextConfig
    _weights: TextWeights

    @classmethod
    def build(cls, checkpoint: Tensors, config: SiglipTextConfig, ops: Backend) -> Self:
        """Build the tower from an open checkpoint; see `from_pretrained`."""
        return cls(config, load_text_weights(checkpoint, config, ops), ops)

    def __call__(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray | None = None,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> BaseModelOutputWithPooling:
        """Embed a batch of tokenized texts.

        Parameters
        ----------
        input_ids : array_like of int, shape (batch, tokens)
            As `SiglipTokenizer` returns them, of at most ``max_position_embeddings`` tokens. With fewer, the
            model computes as transformers does, but it was not trained on such.
        attention_mask : array_like of shape (batch, tokens), optional
            0 for tokens that no token looks at, 1 for the others. `SiglipTokenizer` makes one where the
            model's files ask for it; most models were trained without.
        output_hidden_states : bool
            Return the embeddings and the output of every layer too.
        output_attentions : bool
            Return the attention weights of every layer too.
        return_dict : bool, optional
            With False, the fields that are present as a tuple.
        **others
            What transformers' programs pass and has one right value here, such as ``position_ids=None``.

        Returns
        -------
        BaseModelOutputWithPooling
            Its ``pooler_output`` is the text embedding, (batch, projection_size).

        Raises
        ------
        TextError
            If the tokens do not fit the model, or the mask the tokens.
        ConfigError
            If an option asks for what there is not.
        """
        check_keywords(self.__call__, others, TEXT_KEYWORDS)
        recorder = LayerRecorder(
            self.config.num_hidden_layers, states=output_hidden_states, maps=output_attentions
        )
        last_hidden_state, pooler_output = self._forward(input_ids, attention_mask, recorder.stage)
        output = BaseModelOutputWithPooling(
            last_hidden_state, pooler_output, recorder.hidden_states, recorder.attentions
        )
        return as_asked(output, return_dict)

    def stored_names(self, checkpoint: Tensors) -> dict[str, str]:
        """From the names of transformers to those of the checkpoint that the tower was built of."""
        return find_text_tensors(checkpoint, self.config)

    def tensor_shapes(self) -> Shapes:
        """Name and shape of every tensor of the tower, as transformers names them."""
        return text_tensor_shapes(self.config)

    def trace(
        self,
        input_ids: np.ndarray,
        listener: Listener | None = None,
        *,
        attention_mask: np.ndarray | None = None,
        output_attentions: bool = True,
    ) -> dict[str, np.ndarray]:
        """Run the model and hand out every named stage, in the order they are computed.

        Parameters
        ----------
        input_ids : array_like
            As for calling the model.
        listener : callable, optional
            Called with the name and the array of each stage as soon as it exists. Without one,
            all stages are kept and returned.
        attention_mask : array_like, optional
            As for calling the model.
        output_attentions : bool
            Whether attention weights are among the stages.

        Returns
        -------
        dict of str to ndarray
            All stages by name, or nothing if there is a listener.

        Examples
        --------
        >>> from numpy_siglip import SiglipTextModel
        >>> stages = SiglipTextModel.from_pretrained(model_folder).trace([[5, 6, 1]])
        >>> list(stages)[-3:]
        ['final_layer_norm', 'last_token', 'head']
        """
        return collect_stages(
            lambda stage: self._forward(input_ids, attention_mask, stage), listener, output_attentions
        )

    def _forward(self, input_ids: Any, attention_mask: Any, stage: Stage) -> tuple[np.ndarray, np.ndarray]:
        config, weights, ops = self.config, self._weights, self.ops
        ids = self._check_ids(input_ids)
        mask = AttentionMask.of(attention_mask, ids.shape)

        position = weights.position_embedding[: ids.shape[1]]
        embeddings = stage("embeddings", ops.token_embedding(ids, weights.token_embedding, position))
        hidden = encoder(embeddings, weights.layers, config, ops, stage, mask)
        tokens = stage(
            "final_layer_norm", ops.layer_norm(hidden, *weights.final_layer_norm, config.layer_norm_eps)
        )
        last = stage("last_token", tokens[:, -1])  # (B, T, D) -> (B, D)
        return tokens, stage("head", ops.linear(last, weights.head))

    def _check_ids(self, input_ids: Any) -> np.ndarray:
        """The ids as int64, once they are known to fit."""
        ids = as_array("input_ids", input_ids, TextError)
        longest, vocabulary = self.config.max_position_embeddings, self.config.vocab_size
        wanted = f"(batch, {longest})"
        if ids.dtype.kind not in "iu":
            raise TextError(
                f"input_ids has dtype {ids.dtype}; the model takes integers, which SiglipTokenizer makes of "
                "texts"
            )
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= longest:
            raise TextError(f"input_ids has shape {ids.shape}; the model takes {wanted}")
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
            worst = ids.min() if ids.min() < 0 else ids.max()
            raise TextError(
                f"input_ids holds {shown(int(worst))}, but the model knows tokens 0 to {vocabulary - 1}; "
                "its tokenizer is that of another model"
            )
        return ids.astype(np.int64, copy=False)
