"""What users call: images and texts to rows."""
