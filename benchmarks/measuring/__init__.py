"""How it is measured: processes take turns, ratios are taken within a round, and results are kept."""
