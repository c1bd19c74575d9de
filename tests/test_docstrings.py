"""Every example in a docstring runs, and every public function of the op files has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import tempfile

import pytest
from helpers.module_names import modules_below

import numpy_siglip
import numpy_siglip.kernels

# The editable install maps the folder kernels/ into the package, where walking through the files of the
# package alone does not come by.
MODULES = sorted({*modules_below(numpy_siglip), *modules_below(numpy_siglip.kernels)})


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(
    name, pair_folder, naflex_pair_folder, classifier_folder, photos, tmp_path, monkeypatch
):
    """The names of folders, and `photo`, stand for checkpoints and a photograph in all of them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # so that examples leave nothing behind
    module = importlib.import_module(name)
    folders = {
        "model_folder": pair_folder,
        "naflex_folder": naflex_pair_folder,
        "classifier_folder": classifier_folder,
    }
    names = {**vars(module), **folders, "photo": photos[-1]}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(module, name, globs=names):
        output = []
        runner.run(test, out=output.append)
        assert not runner.failures, "".join(output)


@pytest.mark.parametrize("name", [name for name in MODULES if ".kernels." in name])
def test_public_functions_of_op_files_have_examples(name):
    module = importlib.import_module(name)
    for function_name, function in inspect.getmembers(module, inspect.isfunction):
        # emission works on a builder of LLVM code, which only a compilation has
        described_once = function_name.endswith(("_cost", "_operands")) or name.endswith("emission")
        if function.__module__ == name and not function_name.startswith("_") and not described_once:
            assert ">>>" in (function.__doc__ or ""), function_name
