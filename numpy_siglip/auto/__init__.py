"""The right class for a model by what its files say, and the pipelines of transformers."""
