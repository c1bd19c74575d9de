"""The model that comes with the package: small, so that everything can be tried without a download."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

PACKAGE = Path(str(import_module(__name__.partition(".")[0]).__file__)).parent
"""The folder of this package, wherever in it this file lies."""

BUNDLED_MODEL = "emoji"
"""Its short name, good wherever a model is named. A folder of that name is ``./emoji``."""

NOTE = (
    f'no --model named, so the bundled "{BUNDLED_MODEL}" answers: it learned from 64 x 64 drawings of emoji '
    "and knows no photographs; for those take --model google/siglip-base-patch16-224, or a folder"
)
"""What a command says when it takes that model because none was named."""


def bundled_folder(model: object) -> Path | None:
    """Where the bundled model lies, or None if it is another that is meant.

    Parameters
    ----------
    model : str or Path
        A path is never a short name.

    Examples
    --------
    >>> bundled_folder("emoji").name, bundled_folder("./emoji")
    ('emoji', None)
    """
    return PACKAGE / BUNDLED_MODEL if model == BUNDLED_MODEL else None
