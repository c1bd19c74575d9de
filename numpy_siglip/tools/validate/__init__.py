"""A model compared with transformers, stage by stage."""
