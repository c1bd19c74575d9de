"""The forward pass, written once against the table of operations."""
