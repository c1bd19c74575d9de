"""A model with the maps of its encoders in integers of 8 bits, and what that costs."""
