"""The vision tower as timm names it, which open_clip and DeepSeek-VL2 do too.

Source: `VisionTransformer`, `AttentionPoolLatent` and `NaFlexEmbeds` of timm 1.0. Maps are
(out, in) as in transformers; query, key and value are the rows of one map, in this order.

timm computes the exact GELU, not the tanh form that SigLIP was trained with, for B/16, L/16 at 256 and
384, and So400m/14, of SigLIP and SigLIP 2 alike, and the tanh form for B/32, L/16 at 512, So400m/16, g-opt/16
and NaFlex. The two differ by 4.7e-4 at most. Here the activation is that of the configuration, and the
tanh form where that is silent.
"""

from __future__ import annotations

from .tables import SAME, WHOLE, Leaves, Row, TowerTable
from .turns import AS_STORED, POSITIONS

LAYOUT = "timm"
MARK = "patch_embed.proj.weight"
NAFLEX_MARK = "embeds.proj.weight"

_POSITIONS: Leaves = {"weight": ("", POSITIONS)}
_IN_PROJ: Leaves = {"in_proj_weight": ("weight", AS_STORED), "in_proj_bias": ("bias", AS_STORED)}

_END = (Row("post_layernorm", "norm"),)
_LAYER = (
    Row("layer_norm1", "norm1"),
    Row("self_attn.q_proj", "attn.qkv", SAME, part=0, parts=3),
    Row("self_attn.k_proj", "attn.qkv", SAME, part=1, parts=3),
    Row("self_attn.v_proj", "attn.qkv", SAME, part=2, parts=3),
    Row("self_attn.out_proj", "attn.proj"),
    Row("layer_norm2", "norm2"),
    Row("mlp.fc1", "mlp.fc1"),
    Row("mlp.fc2", "mlp.fc2"),
)
_HEAD = (
    Row("head.probe", "attn_pool.latent", WHOLE),
    Row("head.attention", ("attn_pool.q", "attn_pool.kv"), _IN_PROJ),
    Row("head.attention.out_proj", "attn_pool.proj"),
    Row("head.layernorm", "attn_pool.norm"),
    Row("head.mlp.fc1", "attn_pool.mlp.fc1"),
    Row("head.mlp.fc2", "attn_pool.mlp.fc2"),
)


def _tower(*embeddings: Row) -> TowerTable:
    return TowerTable(
        layout=LAYOUT,
        ours="vision_model.",
        separator=".",
        outside=(*embeddings, *_END),
        layers="blocks.{}",
        layer=_LAYER,
        head=_HEAD,
        left_out=("head.",),  # a classifier on top of the tower
    )


VISION = _tower(
    Row("embeddings.patch_embedding", "patch_embed.proj"),
    Row("embeddings.position_embedding", "pos_embed", _POSITIONS),
)
# A linear map of patches whose numbers lie in the order row, column, channel, as in transformers.
NAFLEX_VISION = _tower(
    Row("embeddings.patch_embedding", "embeds.proj"),
    Row("embeddings.position_embedding", "embeds.pos_embed", _POSITIONS),
)
