"""What one pass through the vision tower costs, operation by operation."""

from __future__ import annotations

from ..config.naflex_configuration import VisionConfig
from ..kernels.attention.attention import attention_cost
from ..kernels.attention.attention_pooling import attention_pooling_cost
from ..kernels.cost import Cost
from ..kernels.inputs.patch_embedding import patch_embedding_cost
from ..kernels.products.linear import linear_cost
from ..kernels.rows.layer_norm import layer_norm_cost


def vision_costs(config: VisionConfig, batch: int = 1) -> dict[str, Cost]:
    """Cost of each kind of operation, summed over all layers.

    Parameters
    ----------
    config : SiglipVisionConfig or Siglip2VisionConfig
    batch : int
        Images, each with as many patches as there are learned positions.

    Returns
    -------
    dict of str to Cost
        In the order of the forward pass; the whole is their sum, `total_cost`.

    Examples
    --------
    >>> from numpy_siglip import SiglipVisionConfig
    >>> costs = vision_costs(SiglipVisionConfig())
    >>> f"{costs['mlp'].flops / 1e9:.1f} GFLOP of {total_cost(costs).flops / 1e9:.1f}"
    '22.3 GFLOP of 35.6'
    """
    d, f, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    tokens = config.num_patches
    rows = batch * tokens

    def mlp(rows: int) -> Cost:
        widen = linear_cost(rows=rows, in_features=d, out_features=f, activation=config.hidden_act)
        return widen + linear_cost(rows=rows, in_features=f, out_features=d, residual=True)

    costs = {
        "patch embedding": patch_embedding_cost(
            batch=batch,
            channels=config.num_channels,
            height=config.patches_per_side * config.patch_size,  # of which the rest is not looked at
            width=config.patches_per_side * config.patch_size,
            patch_size=config.patch_size,
            hidden_size=d,
        ),
        "layer norms": layer_norm_cost(rows=rows, width=d) * (2 * layers + 1),
        "query, key, value": linear_cost(rows=rows, in_features=d, out_features=3 * d) * layers,
        "attention": attention_cost(
            batch=batch, queries=tokens, keys=tokens, width=d, num_heads=config.num_attention_heads
        )
        * layers,
        "attention output": linear_cost(rows=rows, in_features=d, out_features=d, residual=True) * layers,
        "mlp": mlp(rows) * layers,
    }
    if config.vision_use_head:
        pooling = attention_pooling_cost(
            batch=batch, tokens=tokens, width=d, num_heads=config.num_attention_heads
        )
        costs["pooling head"] = pooling + layer_norm_cost(rows=batch, width=d) + mlp(batch)
    return costs


def total_cost(costs: dict[str, Cost]) -> Cost:
    """Sum of the costs of several operations.

    Examples
    --------
    >>> total_cost({"a": Cost(1, 2), "b": Cost(3, 4)})
    Cost(flops=4, bytes=6)
    """
    return sum(costs.values(), start=Cost(0, 0))
