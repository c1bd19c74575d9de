"""What is done with a model besides embedding: describe, convert, quantise, compare, draw."""
