"""README says what is so."""

from __future__ import annotations

import re
import shlex

from helpers.repository import REPOSITORY

from numpy_siglip.commands.command_line import main
from numpy_siglip.tools.published import published_table

README = (REPOSITORY / "README.md").read_text()


def test_the_first_command_prints_what_it_shows(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    command = re.search(r"&& numpy-siglip (classify .*)", README)[1]
    shown = re.search(r"```text\n(.*?)```", README, flags=re.DOTALL)[1]
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == shown


def test_the_python_examples_run(pair_folder, naflex_folder, photos, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    bundled, fixed, texts, naflex, int8 = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(bundled, "README.md", "exec"), {})
    assert capsys.readouterr().out == "a lion\n"
    names = {"model_folder": pair_folder, "naflex_folder": naflex_folder, "photos": photos}
    exec(compile(fixed, "README.md", "exec"), names)
    assert capsys.readouterr().out == "(4, 16, 33) (4, 33) 2\n"
    assert names["similarity"].shape == (4, 4)
    exec(compile(texts, "README.md", "exec"), names)
    assert capsys.readouterr().out == "(4, 3) (4, 3) (4, 2)\n"
    exec(compile(naflex, "README.md", "exec"), names)
    assert capsys.readouterr().out == "[[8, 8], [6, 10], [6, 9], [7, 9]] (4, 33)\n"
    exec(compile(int8, "README.md", "exec"), names)
    assert names["embeddings"].shape == (4, 33)


def test_the_table_of_checkpoints_is_the_packages_own():
    (table,) = re.findall(r"<!-- published checkpoints.*?-->\n(.*?)\n<!-- end -->", README, flags=re.DOTALL)
    assert table == published_table()


def test_figures_of_the_bundled_model_are_those_of_its_card_and_the_benchmark():
    card = (REPOSITORY / "numpy_siglip" / "emoji" / "README.md").read_text("utf-8")
    millions = re.search(r"A SigLIP of ([\d.]+) million parameters", card)[1]
    whole_style = re.search(
        r"^\| \*\*emojione\*\* \| held-out style \| ([\d.]+)%.* (\d+) \|$", card, flags=re.M
    )
    words = " ".join(README.split())
    assert f"of {millions} million parameters" in words
    top1, names = round(float(whole_style[1])), whole_style[2]
    assert f"names {top1}% of the drawings rightly out of {names} names" in words
    results = (REPOSITORY / "benchmarks" / "RESULTS.md").read_text()
    assert re.search(rf"to be told by name from {names};", results)


def test_ci_runs_the_readmes_test_command():
    ci = (REPOSITORY / ".ci" / "run").read_text()
    assert 'pip install -e ".[test]" && pytest' in README
    assert re.search(r'^pip install --quiet -e "\.\[test\]"$', ci, flags=re.MULTILINE)
    assert re.search(r"^pytest$", ci, flags=re.MULTILINE)


def test_files_it_names_exist():
    for name in re.findall(r"\]\(([\w./]+)\)", README):
        assert (REPOSITORY / name).exists(), name
    for name in re.findall(
        r"`((?:numpy_siglip|kernels|benchmarks|examples|tests)/[\w/]+(?:\.\w+)?)`", README
    ):
        assert (REPOSITORY / name).exists(), name


def test_the_readme_of_kernels_lists_every_file():
    kernels = (REPOSITORY / "kernels" / "README.md").read_text()
    listed = re.findall(r"^\| `([\w/]+\.py)`", kernels, flags=re.MULTILINE)
    files = [file for file in (REPOSITORY / "kernels").rglob("*.py") if file.name != "__init__.py"]
    assert files
    assert sorted(listed) == sorted(str(file.relative_to(REPOSITORY / "kernels")) for file in files)


def test_commands_it_names_exist():
    from numpy_siglip.commands.command_line import _parser

    text = _parser().format_help()
    for command in set(re.findall(r"`numpy-siglip (\w+)", README)):
        assert re.search(rf"^    {command}\b", text, flags=re.MULTILINE), command
