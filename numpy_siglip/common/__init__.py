"""What knows nothing of SigLIP: checks of arguments, JSON files, atomic writes, batches, progress."""
