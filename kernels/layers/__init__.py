"""One transformer layer, and a stack of them, in one call."""
