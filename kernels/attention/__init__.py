"""Attention among tokens, and the pooling of all tokens by a learned query."""
