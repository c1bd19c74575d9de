"""The names of the files of a model, each written once."""

from __future__ import annotations

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
"""Names the file of each tensor where the weights are cut into several."""

CONFIG_FILE = "config.json"
OPEN_CLIP_FILE = "open_clip_config.json"

PREPROCESSOR_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"
"""Holds the settings of an image processor and of a tokenizer in one, as newer folders have them."""

SENTENCEPIECE_FILE = "spiece.model"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_SETTINGS_FILE = "tokenizer_config.json"
