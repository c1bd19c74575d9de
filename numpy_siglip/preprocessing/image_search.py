"""Finding image files: by name, in folders, by patterns."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from glob import glob, has_magic
from pathlib import Path

from ..common.checks import shown
from ..errors import ImageError
from .image_formats import how_to_read, is_image_suffix, readable_suffixes, suffix_of
from .images import EMPTY_NAME


def find_images(
    paths: Iterable[str | os.PathLike[str]],
    *,
    exclude: Sequence[str] = (),
    passed_over: Callable[[Path], object] | None = None,
) -> Iterator[Path]:
    """Files as they are named, folders searched through for image files, in sorted order.

    A file that is named is taken whatever its suffix; in a folder, and in the folders inside it,
    files with an image's suffix are taken and hidden ones are not. Links to files are taken; a link to
    a folder is followed if it is named, and left alone inside a folder, where it could lead in a circle.
    A name with wildcards that is not there is a pattern, as a shell has them; ``**`` goes through folders.

    Parameters
    ----------
    paths : iterable of str or path-like
    exclude : sequence of str
        Patterns of what is left out in folders: of a name, such as ``"*_thumb.jpg"`` or ``"thumbnails"``, or,
        with a slash in it, of the path below the folder that was named, such as ``"2019/*"``.
    passed_over : callable, optional
        Called with each file in a folder that is a picture to its owner and is not read: a format that this
        installation does not know, or what is no regular file.

    Yields
    ------
    Path
        What does not exist or cannot be opened, be it a file, a folder or a link, is passed on, to fail
        where it is read.

    Raises
    ------
    ImageError
        If a name is empty, which would otherwise mean the current folder, or no file fits a pattern.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.JPG", "a.png", "a_thumb.png", "c.nef", "notes.txt"):
    ...     (folder / name).touch()
    >>> left = []
    >>> [file.name for file in find_images([folder, "c.dat"], exclude=["*_thumb.*"], passed_over=left.append)]
    ['a.png', 'b.JPG', 'c.dat']
    >>> [file.name for file in left]
    ['c.nef']
    """
    for path in paths:
        if not os.fspath(path):
            raise ImageError(EMPTY_NAME)
        for place in _expanded(path):
            if is_folder(place):
                yield from _images_in_folder(Path(place), tuple(exclude), passed_over or _ignore)
            else:
                yield Path(place)


def told_passed_over(files: Iterable[Path]) -> str:
    """One line about files that were passed over: how many of which kind, and what to do.

    Examples
    --------
    >>> told_passed_over([Path("a.NEF"), Path("b.nef")])
    'passed over 2 files: 2 .nef (convert them to JPEG, PNG or TIFF)'
    """
    kinds = Counter(map(suffix_of, files))
    readable = readable_suffixes()
    parts = [
        f"{count} {suffix} ({'no regular files' if suffix in readable else how_to_read(suffix)})"
        for suffix, count in kinds.most_common()
    ]
    total = sum(kinds.values())
    return f"passed over {total} file{'s' * (total != 1)}: {', '.join(parts)}"


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder or a link to one; no path is too odd to be asked about."""
    return os.path.isdir(path)  # noqa: PTH112  (Path.is_dir raises where it may not look)


def _expanded(path: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
    """What a pattern stands for; a name that is there is no pattern."""
    text = os.fspath(path)
    if not has_magic(text) or os.path.lexists(path):
        return [path]
    found = sorted(glob(text, recursive=True))  # noqa: PTH207  (a Path would lose a slash at the end)
    if not found:
        raise ImageError(f"{shown(text)}: no file fits this pattern")
    return list(found)


def _ignore(path: Path) -> None:
    """Do nothing about a file that is passed over."""


def _images_in_folder(
    folder: Path, exclude: tuple[str, ...], passed_over: Callable[[Path], object]
) -> Iterator[Path]:
    waiting = [(folder, True)]  # with whether each is a folder; the next one is last
    readable = readable_suffixes()
    while waiting:
        path, to_search = waiting.pop()
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name) if to_search else None
        except OSError:
            entries = None
        if entries is None:
            yield path
            continue
        for entry in reversed(entries):
            place = path / entry.name
            if entry.name.startswith(".") or _is_excluded(place, folder, exclude):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((place, True))
            elif is_image_suffix(suffix_of(entry.name)) and not is_folder(entry):
                if suffix_of(entry.name) in readable and not _waits_for_somebody(entry):
                    waiting.append((place, False))
                else:
                    passed_over(place)


def _is_excluded(path: Path, folder: Path, exclude: tuple[str, ...]) -> bool:
    names = {True: path.relative_to(folder).as_posix(), False: path.name}
    patterns = [pattern.rstrip("/") for pattern in exclude]
    return any(fnmatchcase(names["/" in pattern], pattern) for pattern in patterns)


def _waits_for_somebody(entry: os.DirEntry[str]) -> bool:
    """Whether to read it could take for ever, as of a pipe; a link to nothing fails where it is read."""
    try:
        return not entry.is_file() and Path(entry.path).exists()
    except OSError:
        return False
