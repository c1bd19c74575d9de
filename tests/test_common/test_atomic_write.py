"""Old files or new files: whatever fails, and whenever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from numpy_siglip.common.atomic_write import atomic_write, check_writable


def _pair(folder, *contents):
    paths = [folder / "first", folder / "second"]
    atomic_write({path: lambda stream, c=c: stream.write(c) for path, c in zip(paths, contents, strict=True)})


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_files_get_the_permissions_of_any_new_file(tmp_path):
    _pair(tmp_path, b"1", b"2")
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "first").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    (tmp_path / "first").chmod(0o640)
    _pair(tmp_path, b"3", b"4")
    assert (tmp_path / "first").stat().st_mode & 0o777 == 0o640
    assert _contents(tmp_path) == {"first": b"3", "second": b"4", "ordinary": b""}


@pytest.mark.parametrize("before", [True, False], ids=["replacing", "new"])
@pytest.mark.parametrize("linking", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_name_that_cannot_be_taken_changes_neither_file(before, linking, failing, tmp_path, monkeypatch):
    """The third renaming is never reached, so that there everything succeeds."""
    if before:
        _pair(tmp_path, b"old 1", b"old 2")
    calls = []
    replace = Path.replace

    def fails_once(self, target):
        calls.append(target)
        # without links, keeping an old file is a renaming too, and is not what fails here
        if self.suffix == ".new" and sum(c.suffix != ".old" for c in calls) == failing + 1:
            raise OSError(5, "Input/output error", str(self), None, str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails_once)
    if not linking:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(95, "Not supported")))
    if failing < 2:
        with pytest.raises(OSError, match="Input/output error") as caught:
            _pair(tmp_path, b"new 1", b"new 2")
        assert caught.value.filename == str(tmp_path / ("first", "second")[failing])
        assert _contents(tmp_path) == ({"first": b"old 1", "second": b"old 2"} if before else {})
    else:
        _pair(tmp_path, b"new 1", b"new 2")
        assert _contents(tmp_path) == {"first": b"new 1", "second": b"new 2"}


def test_a_folder_in_the_way_of_the_second_leaves_the_first(tmp_path):
    (tmp_path / "first").write_bytes(b"old")
    (tmp_path / "second").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        _pair(tmp_path, b"new", b"new")
    assert caught.value.filename == str(tmp_path / "second")
    assert _contents(tmp_path) == {"first": b"old"}
    assert (tmp_path / "second").is_dir()


def test_an_error_while_writing_names_the_file_and_leaves_nothing(tmp_path):
    def fails(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as caught:
        atomic_write({tmp_path / "first": lambda stream: stream.write(b"1"), tmp_path / "second": fails})
    assert caught.value.filename == str(tmp_path / "second")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_known_before(tmp_path, monkeypatch):
    check_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    for path, reason in (
        (tmp_path, "a folder of this name is in the way"),
        (tmp_path / "missing" / "new", "No such file or directory"),
        (tmp_path / ("n" * 300), "File name too long"),
    ):
        with pytest.raises(OSError, match=reason) as caught:
            check_writable(path)
        assert caught.value.filename == str(path)
