"""What each library calls its tensors, as tables that turn its names into those of transformers."""
