from __future__ import annotations

import os

import pytest

from numpy_siglip import CheckpointError, ConfigError, SiglipError
from numpy_siglip.common.json_file import read_json
from numpy_siglip.common.reading import read_regular_file, unexpected_as


def test_a_pipe_is_refused_at_once_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ConfigError, match=r"config\.json: is no regular file; name one that is$"):
        read_json(tmp_path / "config.json", ConfigError)


def test_a_link_to_an_endless_device_is_refused(tmp_path):
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=r"config\.json: is no regular file"):
        read_json(tmp_path / "config.json", ConfigError)


def test_a_file_is_read_up_to_the_largest_size(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_regular_file(file, SiglipError, largest=5) == b"12345"
    with pytest.raises(SiglipError, match=r"file: is longer than 4 bytes"):
        read_regular_file(file, SiglipError, largest=4)


@pytest.mark.parametrize(
    "cause", [IndexError("3"), StopIteration(), RecursionError(), MemoryError(), KeyError("a")]
)
def test_what_nobody_expected_names_the_file_and_keeps_its_cause(cause):
    with (
        pytest.raises(CheckpointError, match=r"^model\.npz: .*; fetch it again$") as caught,
        unexpected_as(CheckpointError, "model.npz", "fetch it again"),
    ):
        raise cause
    assert caught.value.__cause__ is cause


class PanicException(BaseException):
    """What a library written in Rust raises has this name, and is no Exception."""


def test_a_panic_of_a_library_is_an_error_like_others():
    with (
        pytest.raises(
            CheckpointError, match=r"^m: cannot be made sense of .*no entry found\); fetch it again$"
        ),
        unexpected_as(CheckpointError, "m", "fetch it again"),
    ):
        raise PanicException("no entry found")
    with pytest.raises(KeyboardInterrupt), unexpected_as(CheckpointError, "m", "fetch it again"):
        raise KeyboardInterrupt


def test_errors_that_say_what_is_wrong_pass_through():
    known = ConfigError("image_size is 0")
    with pytest.raises(ConfigError) as caught, unexpected_as(CheckpointError, "model.npz", "fetch it again"):
        raise known
    assert caught.value is known


@pytest.mark.parametrize("odd", ["two\nlines", "\x1b[31mred", "\u202egnp", "half\udc80", "\x00"])
def test_no_error_holds_what_a_terminal_would_obey(odd):
    assert odd not in str(ConfigError(f"{odd}.json: no such file"))
