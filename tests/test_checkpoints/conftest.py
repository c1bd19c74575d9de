"""A fixture that several tests of layouts need."""

from __future__ import annotations

import pytest
from helpers.published_model import Published
from helpers.toy_models import TOY


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """The toy model of both towers as transformers writes it, and what it computes."""
    return Published(tmp_path_factory.mktemp("toy_of_both"), TOY)
