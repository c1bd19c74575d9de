"""From a model's name to its tensors and its description; knows no classes of models."""
