"""Shapes of towers and of whole models, with transformers' names and defaults."""
