"""The modules of the package, found by walking through its folders."""

from __future__ import annotations

import pkgutil
from types import ModuleType


def modules_below(package: ModuleType) -> list[str]:
    """Full names of all modules in a package and in its folders; that there are none is an error."""
    found = [
        module.name
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.ispkg and not module.name.endswith("__main__")
    ]
    assert found, f"no modules in {package.__path__}"
    return sorted(found)
