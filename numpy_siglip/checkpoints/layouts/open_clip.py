"""The text tower and the two scalars as open_clip names them; its vision tower is timm's.

Source: `CustomTextCLIP` and `TextTransformer` of open_clip 3.3. open_clip computes the exact GELU in the text
towers of SigLIP 1 and the tanh form in those of SigLIP 2; here the activation is that of the
configuration.
"""

from __future__ import annotations

from .tables import Leaves, Row, TowerTable
from .turns import AS_STORED, FLAT, POSITIONS

LAYOUT = "open_clip"
VISION_PREFIX = "visual.trunk."
TEXT_PREFIX = "text."
TEXT_MARK = "transformer.resblocks.0.attn.in_proj_weight"

_SCALAR: Leaves = {"": ("", FLAT)}
SCALARS = (Row("logit_scale", "logit_scale", _SCALAR), Row("logit_bias", "logit_bias", _SCALAR))

_POSITIONS: Leaves = {"weight": ("", POSITIONS)}
_IN_PROJ: Leaves = {"weight": ("in_proj_weight", AS_STORED), "bias": ("in_proj_bias", AS_STORED)}

TEXT = TowerTable(
    layout=LAYOUT,
    ours="text_model.",
    separator=".",
    outside=(
        Row("embeddings.token_embedding", "token_embedding", {"weight": ("weight", AS_STORED)}),
        Row("embeddings.position_embedding", "positional_embedding", _POSITIONS),
        Row("final_layer_norm", "ln_final"),
    ),
    layers="transformer.resblocks.{}",
    layer=(
        Row("layer_norm1", "ln_1"),
        Row("self_attn.q_proj", "attn", _IN_PROJ, part=0, parts=3),
        Row("self_attn.k_proj", "attn", _IN_PROJ, part=1, parts=3),
        Row("self_attn.v_proj", "attn", _IN_PROJ, part=2, parts=3),
        Row("self_attn.out_proj", "attn.out_proj"),
        Row("layer_norm2", "ln_2"),
        Row("mlp.fc1", "mlp.c_fc"),
        Row("mlp.fc2", "mlp.c_proj"),
    ),
    head=(Row("head", "text_projection"),),
)
