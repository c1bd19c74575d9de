"""Documents say what is so: examples run, and what is named exists. Every Markdown file is checked."""

from __future__ import annotations

import configparser
import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import helpers.folder_drawing
import pytest
from helpers.folder_drawing import BLOCK, PAGE, drawing
from helpers.repository import REPOSITORY

import numpy_siglip
from numpy_siglip.commands.command_line import _parser, main
from numpy_siglip.tools.published import published_table

DOCS = REPOSITORY / "docs"
FOLDERS = ("benchmarks", "docs", "examples", "kernels", "numpy_siglip", "tests")
NOT_OURS = {"data", "run"}  # what examples/emoji downloads and writes
INVENTED = ("rms_norm", "<")
"""In names that stand for names: the operation that CONTRIBUTING adds, and `<library>`"""
OPTIONS_OF_OTHERS = {"--check", "--index-url", "--strict"}
NAMES_OF_TRANSFORMERS = {"return_dict"}


def repository_files() -> Iterator[Path]:
    """All files of the project, hidden ones left out."""
    yield from (file for file in REPOSITORY.iterdir() if file.is_file())
    for folder in FOLDERS:
        yield REPOSITORY / folder
        for file in (REPOSITORY / folder).rglob("*"):
            parts = file.relative_to(REPOSITORY).parts
            if not NOT_OURS & set(parts) and not any(part.startswith((".", "__pycache")) for part in parts):
                yield file


def documents() -> list[Path]:
    found = sorted(file for file in repository_files() if file.suffix == ".md")
    assert len(found) > 10, found
    return found


def name_of(document: Path) -> str:
    return document.relative_to(REPOSITORY).as_posix()


every_document = pytest.mark.parametrize("document", documents(), ids=name_of)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def inline_code(document: Path) -> list[str]:
    """What stands between backticks, outside blocks of code."""
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def shell_lines(document: Path) -> list[str]:
    """The commands in blocks of shell, and in indented ones."""
    text = document.read_text("utf-8")
    lines = "".join(blocks(text, "sh")).splitlines() + re.findall(r"^    (\w.*)$", text, flags=re.MULTILINE)
    commands = [part for line in lines for part in line.partition(" #")[0].split(" && ")]
    return [
        one.strip() for one in commands if one.split()[0] in ("pip", "python", "numpy-siglip", "pytest", "cd")
    ]


# ------------------------------------------------------------------------------------------ examples


@pytest.mark.parametrize(
    "document", [one for one in documents() if "```python\n" in one.read_text("utf-8")], ids=name_of
)
def test_python_examples_run_and_print_what_is_shown(
    document, pair_folder, naflex_folder, classifier_folder, photos, tmp_path, monkeypatch, capsys
):
    """The blocks of a document share their names; what one prints is shown in a block right below it."""
    at_the_top = document.parent in (REPOSITORY, DOCS)
    monkeypatch.chdir(REPOSITORY if at_the_top else document.parent)
    names = {
        "model_folder": pair_folder,
        "naflex_folder": naflex_folder,
        "classifier_folder": classifier_folder,
        "photos": photos,
        "new_folder": tmp_path / "new",
    }
    examples = re.findall(
        r"^```python\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?",
        document.read_text("utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    assert examples
    for code, shown in examples:
        exec(compile(code, name_of(document), "exec"), names)
        assert capsys.readouterr().out == shown, code


def test_the_first_command_prints_what_it_shows(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    command = re.search(r"&& numpy-siglip (classify .*)", readme)[1]
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == blocks(readme, "text")[0]


def test_ci_runs_the_readmes_test_command():
    ci = (REPOSITORY / ".ci" / "run").read_text()
    assert 'pip install -e ".[test]" && pytest' in (REPOSITORY / "README.md").read_text("utf-8")
    assert re.search(r'^pip install --quiet -e "\.\[test\]"$', ci, flags=re.MULTILINE)
    assert re.search(r"^pytest$", ci, flags=re.MULTILINE)


# ------------------------------------------------------------------------------------------ what is named


def anchor(heading: str) -> str:
    """What GitHub calls the place of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}


@every_document
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        target, _, place = link.partition("#")
        file = (document.parent / target) if target else document
        assert file.exists(), link
        assert not place or place in anchors(file), link


@cache
def known_paths() -> frozenset[str]:
    """Every file and folder of the project, and each ending of its path."""
    paths = [file.relative_to(REPOSITORY).parts for file in repository_files()]
    found = {"/".join(parts[begin:]) for parts in paths for begin in range(len(parts))}
    assert "numpy_siglip/model/vision.py" in found
    return frozenset(found)


@every_document
def test_paths_that_it_names_exist(document):
    """Sources and folders by any ending of their path, and in commands by the whole of it."""
    for code in inline_code(document):
        is_path = re.fullmatch(r"[\w.<>*-]+(/[\w.<>*-]+)*(\.(py|md|cfg|toml)|/)", code)
        is_path = is_path or code.startswith(tuple(f"{folder}/" for folder in FOLDERS))
        if is_path and not any(part in code for part in (*INVENTED, "*", "data/", "run/")):
            assert code.rstrip("/") in known_paths(), code
    here = REPOSITORY
    for command in shell_lines(document):
        words = shlex.split(command)
        here = REPOSITORY / words[1] if words[0] == "cd" else here
        for word in words:
            if word.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
                assert (REPOSITORY / word).exists(), command
        if words[:2] == ["python", "-m"]:
            assert (here / words[2].replace(".", "/")).with_suffix(".py").exists(), command
        elif words[0] == "python":
            assert any((place / words[1]).exists() for place in (here, document.parent)), command


@every_document
def test_modules_and_names_in_them_exist(document):
    for code in inline_code(document):
        if re.fullmatch(r"numpy_siglip(\.\w+)+", code):
            parts, value = code.split("."), numpy_siglip
            for number, part in enumerate(parts[1:], 2):
                try:
                    value = importlib.import_module(".".join(parts[:number]))
                except ModuleNotFoundError:
                    value = getattr(value, part)


@cache
def words_of_sources() -> frozenset[str]:
    files = [file for file in repository_files() if file.suffix in (".py", ".cfg")]
    return frozenset(word for file in files for word in re.findall(r"\w+", file.read_text("utf-8")))


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=name_of)
def test_functions_and_options_of_python_that_it_names_are_in_the_source(document):
    for code in inline_code(document):
        if re.fullmatch(r"\w+(\.\w+)*(\(.*\))?=?", code) and not code.startswith("numpy_siglip."):
            named = code.partition("(")[0].rstrip("=").split(".")
            suffix = {"json", "npy", "txt", "jpg", "safetensors"} & {named[-1]}
            assert suffix or set(named) <= words_of_sources() | NAMES_OF_TRANSFORMERS, code


@cache
def commands() -> dict[str, str]:
    """The help of each command of ``numpy-siglip``."""
    (choices,) = (action.choices for action in _parser()._actions if action.choices)
    return {name: command.format_help() for name, command in choices.items()}


@every_document
def test_commands_and_options_that_it_names_exist(document):
    named = [*inline_code(document), *shell_lines(document)]
    for code in named:
        options = re.findall(r"(?<![\w-])--[a-z][\w-]*", code)
        words = code.split()
        if words[0] == "numpy-siglip" and len(words) > 1:
            assert words[1] in commands(), code
            for option in options:
                assert re.search(rf"{option}\b", commands()[words[1]]), code
        assert set(options) <= known_options(), code


@cache
def known_options() -> frozenset[str]:
    """Those of the command line, of scripts, and of programs that are not ours."""
    found = set(re.findall(r"--[a-z][\w-]*", "".join(commands().values()))) | OPTIONS_OF_OTHERS
    for file in repository_files():
        if file.suffix == ".py" and "tests" not in file.relative_to(REPOSITORY).parts:
            found |= set(re.findall(r'"(--[a-z][\w-]*)"', file.read_text("utf-8")))
    return frozenset(found)


@every_document
def test_whole_commands_can_be_parsed(document):
    for command in shell_lines(document):
        words = shlex.split(command)
        if words[0] == "numpy-siglip":
            assert _parser().parse_args(words[1:]).run, command


@every_document
def test_extras_that_it_names_exist(document):
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    text = document.read_text("utf-8")
    named = ",".join(re.findall(r"\.\[([\w,]+)\]", text)).split(",")
    named += re.findall(r"\(extras? `(\w+)`", text)
    for extra in filter(None, named):
        assert extra in settings["options.extras_require"], extra


# ------------------------------------------------------------------------------------------ page by page


def test_readme_is_a_page_for_newcomers():
    assert len((REPOSITORY / "README.md").read_text("utf-8").splitlines()) <= 200


def test_figures_of_the_bundled_model_are_those_of_its_card_and_the_benchmark():
    card = (REPOSITORY / "numpy_siglip" / "emoji" / "README.md").read_text("utf-8")
    millions = re.search(r"A SigLIP of ([\d.]+) million parameters", card)[1]
    whole_style = re.search(
        r"^\| \*\*emojione\*\* \| held-out style \| ([\d.]+)%.* (\d+) \|$", card, flags=re.M
    )
    words = " ".join((REPOSITORY / "README.md").read_text("utf-8").split())
    assert f"of {millions} million parameters" in words
    top1, names = round(float(whole_style[1])), whole_style[2]
    assert f"names {top1}% of the drawings rightly out of {names} names" in words
    results = (REPOSITORY / "benchmarks" / "RESULTS.md").read_text("utf-8")
    assert f"to be told by name from {names};" in results


def test_every_command_is_described_in_both_places():
    for document in (REPOSITORY / "README.md", DOCS / "command-line.md"):
        described = re.findall(r"^\| `numpy-siglip (\w+)", document.read_text("utf-8"), flags=re.MULTILINE)
        assert set(described) == set(commands()), document


def test_every_option_of_the_command_line_is_described():
    text = (DOCS / "command-line.md").read_text("utf-8") + (DOCS / "int8.md").read_text("utf-8")
    for name, help_text in commands().items():
        for option in re.findall(r"--[a-z][\w-]*", help_text):
            assert re.search(rf"{option}\b", text), f"{name} {option}"


def test_every_extra_is_described():
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    text = (DOCS / "command-line.md").read_text("utf-8")
    described = re.findall(r"^\| `(\w+)` \|", text.partition("## Extras")[2], flags=re.MULTILINE)
    assert sorted(described) == sorted(settings["options.extras_require"])


def test_every_public_name_is_described():
    text = (DOCS / "python.md").read_text("utf-8")
    for name in numpy_siglip.__all__:
        assert re.search(rf"\b{name}\b", text), name


def test_the_table_of_checkpoints_is_the_packages_own():
    text = (DOCS / "published-checkpoints.md").read_text("utf-8")
    (table,) = re.findall(r"<!-- published checkpoints.*?-->\n(.*?)\n<!-- end -->", text, flags=re.DOTALL)
    assert table == published_table()


def test_the_index_of_documents_names_all():
    index = (DOCS / "README.md").read_text("utf-8")
    for document in DOCS.glob("*.md"):
        assert document.name == "README.md" or f"]({document.name})" in index, document


def test_the_drawing_of_folders_is_that_of_the_imports():
    (block,) = BLOCK.finditer(PAGE.read_text("utf-8"))
    shown = block[0].removeprefix(block[1]).removesuffix(block[2])
    assert shown == drawing(), "cd tests && python -m helpers.folder_drawing draws it anew"


def test_every_folder_has_its_words_in_architecture():
    text = PAGE.read_text("utf-8")
    for root in (REPOSITORY / "kernels", REPOSITORY / "numpy_siglip"):
        folders = [file.parent for file in root.rglob("__init__.py") if file.parent != root]
        assert folders
        for folder in folders:
            assert re.search(rf"`{folder.name}/`", text), folder


def test_the_readme_of_kernels_lists_every_file():
    kernels = (REPOSITORY / "kernels" / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| `([\w/]+\.py)`", kernels, flags=re.MULTILINE)
    files = [file for file in (REPOSITORY / "kernels").rglob("*.py") if file.name != "__init__.py"]
    assert files
    assert sorted(listed) == sorted(file.relative_to(REPOSITORY / "kernels").as_posix() for file in files)


def test_documents_travel_with_the_source():
    assert "graft docs\n" in (REPOSITORY / "MANIFEST.in").read_text()


def test_examples_in_docstrings_of_the_drawing():
    import doctest

    assert doctest.testmod(helpers.folder_drawing).failed == 0


# ------------------------------------------------------------------------------------------ planted mistakes


@pytest.mark.parametrize(
    ("check", "mistake", "message"),
    [
        (test_links_lead_somewhere, "[here](no-such.md)", "no-such.md"),
        (test_links_lead_somewhere, "[here](#no-such-place)", "no-such-place"),
        (test_paths_that_it_names_exist, "`numpy_siglip/no_such.py`", "no_such"),
        (test_paths_that_it_names_exist, "`no_such/`", "no_such"),
        (test_paths_that_it_names_exist, "```sh\npython benchmarks/no_such.py\n```", "no_such"),
        (test_commands_and_options_that_it_names_exist, "`numpy-siglip paint IMAGE`", "paint"),
        (test_commands_and_options_that_it_names_exist, "`numpy-siglip embed --top 3`", "--top"),
        (test_commands_and_options_that_it_names_exist, "`--no-such`", "--no-such"),
        (test_extras_that_it_names_exist, '```sh\npip install -e ".[no_such]"\n```', "no_such"),
    ],
)
def test_a_planted_mistake_is_found(check, mistake, message, tmp_path):
    document = tmp_path / "document.md"
    document.write_text(f"# Title\n\n{mistake}\n")
    with pytest.raises(AssertionError, match=message):
        check(document)


def test_a_planted_module_is_found_missing(tmp_path):
    (tmp_path / "document.md").write_text("`numpy_siglip.no_such.name`\n")
    with pytest.raises(AttributeError, match="no_such"):
        test_modules_and_names_in_them_exist(tmp_path / "document.md")
