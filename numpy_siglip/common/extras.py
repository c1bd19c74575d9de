"""What is not installed, and the extra of this package that installs it."""

from __future__ import annotations

_EXTRAS = {
    "huggingface_hub": "hub",
    "matplotlib": "plots",
    "pillow_heif": "heif",
    "pillow_jxl": "jxl",
    "sentencepiece": "text",
    "tokenizers": "text",
    "torch": "validate",
    "tqdm": "progress",
    "transformers": "validate",
}
"""The extra of ``setup.cfg`` that brings a package, by the name it is imported by."""


def how_to_install(package: str) -> str:
    """The command that installs a package that only some uses need.

    Parameters
    ----------
    package : str
        As it is imported.

    Examples
    --------
    >>> how_to_install("tokenizers")
    'pip install "numpy-siglip[text]"'
    """
    return f'pip install "numpy-siglip[{_EXTRAS[package]}]"'
