"""From tensors by name to a backend's operands."""
