"""Every operation with operands and shapes, for tests, benchmarks and warm-up."""
