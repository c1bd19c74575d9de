"""Old files or new files: whatever fails, and whenever, and whoever is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from numpy_siglip.common import atomic_write as module
from numpy_siglip.common.atomic_write import atomic_write, atomic_write_folder, check_writable, sweep


def _pair(folder, *contents):
    paths = [folder / "first", folder / "second"]
    atomic_write({path: lambda stream, c=c: stream.write(c) for path, c in zip(paths, contents, strict=True)})


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_files_get_the_permissions_of_any_new_file(tmp_path):
    _pair(tmp_path, b"1", b"2")
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "first").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    (tmp_path / "first").chmod(0o640)
    _pair(tmp_path, b"3", b"4")
    assert (tmp_path / "first").stat().st_mode & 0o777 == 0o640
    assert _contents(tmp_path) == {"first": b"3", "second": b"4", "ordinary": b""}
    (tmp_path / "ordinary folder").mkdir()
    atomic_write_folder(tmp_path / "new", {"a": lambda stream: stream.write(b"a")})
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "ordinary folder").stat().st_mode


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
        if self.parent.suffix == ".ready" and Path(target).parent == tmp_path:
            calls.append(target)
            if len(calls) == failing + 1:
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
    assert len(_everything(tmp_path)) == len(_contents(tmp_path))


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

    writers = {"first": lambda stream: stream.write(b"1"), "second": fails}
    with pytest.raises(OSError, match="No space left on device") as caught:
        atomic_write({tmp_path / name: write for name, write in writers.items()})
    assert caught.value.filename == str(tmp_path / "second")
    with pytest.raises(OSError, match="No space left on device") as caught:
        atomic_write_folder(tmp_path / "a" / "b", writers)
    assert caught.value.filename == str(tmp_path / "a" / "b" / "second")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_known_before(tmp_path):
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
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_names_may_be(tmp_path):
    atomic_write({tmp_path / ("n" * 255): lambda stream: stream.write(b"1")})
    assert len(list(tmp_path.iterdir())) == 1


# ------------------------------------------------------------------------------------------------ links


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_a_link_is_written_through(there, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    if there:
        (tmp_path / "elsewhere" / "first").write_bytes(b"old")
    (tmp_path / "first").symlink_to("elsewhere/first")
    _pair(tmp_path, b"new 1", b"new 2")
    assert (tmp_path / "first").is_symlink()
    assert _contents(tmp_path / "elsewhere") == {"first": b"new 1"}
    assert _everything(tmp_path) == ["elsewhere", "elsewhere/first", "first", "second"]


def test_a_link_to_a_folder_is_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").symlink_to("elsewhere")
    atomic_write_folder(tmp_path / "folder", {"a": lambda stream: stream.write(b"a")})
    assert (tmp_path / "folder").is_symlink()
    assert _contents(tmp_path / "elsewhere") == {"a": b"a"}


# ------------------------------------------------------------------------------- processes that are killed


def _killed(action, calls: int) -> bool:
    """Run an action in a child that is killed at its n-th call to the system; False if it ends before."""
    child = os.fork()
    if child == 0:
        count = 0

        def counting(function):
            def call(*arguments, **options):
                nonlocal count
                count += 1
                if count == calls:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return call

        for place, name in (
            *((os, name) for name in ("fsync", "link", "mkdir", "rmdir", "unlink", "replace", "rename")),
            *((Path, name) for name in ("replace", "rename", "unlink", "rmdir", "mkdir", "chmod")),
        ):
            setattr(place, name, counting(getattr(place, name)))
        try:
            action()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("before", [True, False], ids=["replacing", "new"])
def test_a_pair_is_never_mixed_whenever_the_process_is_killed(before, tmp_path):
    calls, seen = 0, set()
    killed = True
    while killed:
        calls += 1
        folder = tmp_path / str(calls)
        folder.mkdir()
        if before:
            _pair(folder, b"old", b"old")
        killed = _killed(lambda folder=folder: _pair(folder, b"new", b"new"), calls)
        found = tuple(_contents(folder).get(name, b"-").decode() for name in ("first", "second"))
        assert found in {("old", "old"), ("old", "-"), ("-", "-"), ("new", "-"), ("new", "new")}, calls
        seen.add(found)
        sweep(folder)
        after = _contents(folder)
        assert after in ({}, {"first": b"old", "second": b"old"}, {"first": b"new", "second": b"new"}), calls
        assert set(_everything(folder)) == set(after), calls
    assert ("new", "-") in seen, "no kill between the two renamings"
    assert calls > 8


@pytest.mark.parametrize("state", ["missing", "empty", "holds something"])
def test_a_folder_is_whole_or_not_there_whenever_the_process_is_killed(state, tmp_path):
    names = ("config.json", "model.safetensors", "tokenizer.json")
    writers = {name: lambda stream, name=name: stream.write(name.encode()) for name in names}
    whole = {name: name.encode() for name in names}
    calls, killed = 0, True
    while killed:
        calls += 1
        place = tmp_path / str(calls)
        folder = place / "model"
        folder.mkdir(parents=True)
        if state == "missing":
            folder.rmdir()
        if state == "holds something":
            (folder / "other").write_bytes(b"other")
            whole["other"] = b"other"
        killed = _killed(lambda folder=folder: atomic_write_folder(folder, writers), calls)
        if state != "holds something":
            found = _contents(folder) if folder.exists() else {}
            assert found in ({}, whole), calls
        sweep(place)
        if folder.exists():
            sweep(folder)
            assert _contents(folder) in ({}, whole, {"other": b"other"}), calls
        atomic_write_folder(folder, writers)
        assert _contents(folder) == whole
        assert len(_everything(place)) == 1 + len(whole), calls
    assert calls > 5


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    staging = module._make_staging(tmp_path)
    sweep(tmp_path)
    assert staging.is_dir()
    module._OWN.clear()  # as in another process that has the same number, the first having been killed
    sweep(tmp_path)
    assert not staging.exists()
    other_host = tmp_path / ".numpy-siglip-1-00000000-abc.new"
    other_host.mkdir()
    sweep(tmp_path)
    assert other_host.is_dir()


def test_what_was_written_since_is_not_replaced_by_an_older_file(tmp_path):
    ready = tmp_path / f".numpy-siglip-{2**22 + 1}-{module._HOST}-abc.ready"
    ready.mkdir()
    (ready / "first").write_bytes(b"before the crash")
    os.utime(ready / "first", ns=(1, 1))
    (tmp_path / "first").write_bytes(b"since")
    sweep(tmp_path)
    assert _contents(tmp_path) == {"first": b"since"}
    assert _everything(tmp_path) == ["first"]
