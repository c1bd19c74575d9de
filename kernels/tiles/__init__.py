"""The register tiles of matrix products, their machine code, and the memory order of their operands."""
