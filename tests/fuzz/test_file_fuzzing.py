"""Files of weights, damaged and made up: an answer that can be used, or an error of the package."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile

import numpy as np
import pytest
from helpers.fuzzing import fuzz, mutated_bytes, mutated_values
from helpers.layout_writers import flax_tensors, open_clip_tensors, save_npz, timm_tensors
from helpers.published_model import HEADS_OF_BOTH, PIXELS, TEXT_HEADS, Published
from helpers.toy_models import TOY
from safetensors.numpy import save_file

from numpy_siglip import CheckpointError, SiglipError, SiglipTextModel, SiglipVisionModel, convert_model
from numpy_siglip.checkpoints.checkpoint_files import open_checkpoint
from numpy_siglip.checkpoints.description.model_files import open_model

CASES = [200, pytest.param(4000, marks=pytest.mark.slow)]

_DTYPES = (np.float16, np.float64, np.int8, np.int32)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Published(tmp_path_factory.mktemp("fuzzed"), TOY)


def _use(location):
    """Load both towers, on the backend that compiles nothing, and run them."""
    files = open_model(location)
    with np.errstate(all="ignore"):
        SiglipVisionModel.from_pretrained(files, backend="numpy")(PIXELS[:1])
        if any(name.startswith("text_model.") for name in files.tensors):
            SiglipTextModel.from_pretrained(files, backend="numpy")(np.ones((1, 4), int))


@pytest.mark.parametrize("cases", CASES)
def test_bytes_of_safetensors(cases, toy, tmp_path):
    folder = shutil.copytree(toy.folder, tmp_path / "m")
    file = folder / "model.safetensors"
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")

    def case(generator):
        damaged = mutated_bytes(generator, content[:header]) + content[header:]
        if generator.random() < 0.3:
            damaged = mutated_bytes(generator, content)
        file.write_bytes(damaged)
        _use(folder)

    count = fuzz(case, cases)
    assert min(count) > 0


@pytest.mark.parametrize("cases", CASES)
def test_headers_of_safetensors(cases, toy, tmp_path):
    """Sound JSON that says impossible things."""
    folder = shutil.copytree(toy.folder, tmp_path / "m")
    file = folder / "model.safetensors"
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]

    def case(generator):
        text = json.dumps(mutated_values(generator, header)).encode()
        text += b" " * (-len(text) % 8)
        file.write_bytes(len(text).to_bytes(8, "little") + text + body)
        _use(folder)

    assert fuzz(case, cases).refused > 0


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("layout", ["timm", "open_clip", "flax"])
def test_shapes_of_other_layouts(layout, cases, toy, tmp_path):
    """Tensors of odd shapes under the right names, and right ones under odd names."""
    writers = {
        "timm": lambda: timm_tensors(toy.vision_state),
        "open_clip": lambda: open_clip_tensors(toy.state),
        "flax": lambda: flax_tensors(toy.state, 3, TEXT_HEADS),
    }
    tensors = writers[layout]()
    names = list(tensors)

    def case(generator):
        changed = dict(tensors)
        for _ in range(int(generator.integers(0, 3))):
            name = names[int(generator.integers(len(names)))]
            kind = int(generator.integers(6))
            if kind == 0:
                changed.pop(name, None)
                changed[f"{name}.{generator.integers(3)}"] = tensors[name]
            elif kind == 1:
                changed[name] = np.zeros(generator.integers(0, 4, int(generator.integers(0, 7))), np.float32)
            elif kind == 2:
                changed[name] = tensors[names[int(generator.integers(len(names)))]]
            elif kind == 3:
                changed[name] = tensors[name].astype(_DTYPES[int(generator.integers(4))])
            elif kind == 4:
                changed[name] = tensors[name][..., None]
            else:
                changed[name] = tensors[name].reshape(-1)[:0]
            if name not in changed and kind:
                break
        file = tmp_path / ("m.npz" if layout == "flax" else "m.safetensors")
        if layout == "flax":
            save_npz(file, changed)
        else:
            save_file({key: np.ascontiguousarray(value) for key, value in changed.items()}, file)
            (tmp_path / "config.json").write_text(json.dumps(HEADS_OF_BOTH))
        _use(file)

    count = fuzz(case, cases)
    assert min(count) > 0


@pytest.mark.parametrize("cases", CASES)
def test_bytes_of_archives(cases, toy, tmp_path):
    tensors = flax_tensors(toy.state, 3, TEXT_HEADS)
    contents = []
    for compressed in (False, True):
        save_npz(tmp_path / "m.npz", tensors, compressed=compressed)
        contents.append((tmp_path / "m.npz").read_bytes())

    def case(generator):
        content = contents[int(generator.integers(2))]
        # Headers lie all over the file, and the directory at its end
        first = int(generator.choice([0, len(content) - 4000]))
        (tmp_path / "m.npz").write_bytes(mutated_bytes(generator, content, first=first))
        _use(tmp_path / "m.npz")

    count = fuzz(case, cases)
    assert min(count) > 0


@pytest.mark.parametrize("cases", CASES)
def test_headers_of_arrays(cases, tmp_path):
    """What stands in the header of an .npy file is a Python expression, and may be any."""
    shapes = [
        *("(2,)", "(-1,)", "(2**63,)", "(99999999999999999999,)", "()", "(1,)*70", "[2]", "2", "(2.5,)"),
        *("((2,),)", "(True,)", "(" * 200, "None", "(2, 3"),
    ]
    dtypes = [
        "'<f4'",
        "'|O'",
        "'<f2'",
        "'<M8'",
        "[('a', '<f4')]",
        "'>f4'",
        "'V2'",
        "'<f4' * 9",
        "7",
        "'|S0'",
        "'<c8'",
    ]

    def case(generator):
        descr, shape = str(generator.choice(dtypes)), str(generator.choice(shapes))
        order = str(generator.choice(["False", "True", "None", "3"]))
        text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
        if generator.random() < 0.3:
            text = mutated_bytes(generator, text.encode()).decode("latin-1")
        header = text.encode("latin-1") + b" " * 10 + b"\n"
        array = (
            b"\x93NUMPY\x01\x00"
            + struct.pack("<H", len(header))
            + header
            + bytes(int(generator.integers(0, 99)))
        )
        compression = int(generator.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
        with zipfile.ZipFile(tmp_path / "m.npz", "w", compression) as archive:
            archive.writestr("a.npy", array)
        checkpoint = open_checkpoint(tmp_path / "m.npz")
        for name in checkpoint:
            checkpoint.tensor(name)

    assert fuzz(case, cases).refused > 0


@pytest.mark.parametrize("cases", CASES)
def test_indices_of_shards(cases, toy_model, tmp_path):
    toy_model.save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / "model.safetensors.index.json"
    values = json.loads(index.read_text())

    def case(generator):
        index.write_text(json.dumps(mutated_values(generator, values)))
        _use(tmp_path)

    assert fuzz(case, cases).refused > 0


# ----------------------------------------------------------------------------------------- zip bombs


def _archive(file, array_bytes, *, encrypted=False):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", array_bytes)
    if encrypted:
        content = bytearray(file.read_bytes())
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
        file.write_bytes(content)


def _npy(shape, content=b""):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def test_what_comes_behind_an_array_is_refused_and_not_unpacked(tmp_path):
    _archive(tmp_path / "m.npz", _npy((2,), bytes(8)) + bytes(200_000_000))
    assert (tmp_path / "m.npz").stat().st_size < 300_000
    with pytest.raises(CheckpointError, match=r"m\.npz: not a whole .*a is not as long as its header says"):
        open_checkpoint(tmp_path / "m.npz")


def test_an_honest_header_of_more_than_there_is(tmp_path):
    """The directory says as much as the header, and the numbers are missing."""
    _archive(tmp_path / "m.npz", _npy((2**38,), bytes(100)))
    content = bytearray((tmp_path / "m.npz").read_bytes())
    with pytest.raises(CheckpointError, match="is not as long as its header says"):
        open_checkpoint(tmp_path / "m.npz")
    place = content.index(b"PK\x01\x02") + 24
    size = len(_npy((2**29,))) + 4 * 2**29
    _archive(tmp_path / "m.npz", _npy((2**29,), bytes(100)))
    content = bytearray((tmp_path / "m.npz").read_bytes())
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", size)
    (tmp_path / "m.npz").write_bytes(content)
    checkpoint = open_checkpoint(tmp_path / "m.npz")
    with pytest.raises(CheckpointError, match=r"a\.npy cannot be unpacked"):
        checkpoint.tensor("a")


def test_a_table_that_the_configuration_does_not_ask_for_is_not_unpacked(toy, tmp_path, monkeypatch):
    tensors = flax_tensors(toy.state, 3, TEXT_HEADS)
    name = next(name for name in tensors if name.endswith("Embed_0/embedding"))
    tensors[name] = np.zeros((3_000_000, tensors[name].shape[1]), np.float32)
    save_npz(tmp_path / "m.npz", tensors, compressed=True)
    shutil.copy(toy.folder / "config.json", tmp_path)
    monkeypatch.setattr(
        "numpy_siglip.checkpoints.checkpoint.unpack_member", lambda *_: pytest.fail("was unpacked")
    )
    with pytest.raises(CheckpointError, match=r"has shape \(3000000, 26\), but config.json asks for"):
        SiglipTextModel.from_pretrained(tmp_path)


def test_a_member_under_a_password(tmp_path):
    _archive(tmp_path / "m.npz", _npy((2,), bytes(8)), encrypted=True)
    with pytest.raises(
        CheckpointError, match=r"m\.npz: not a whole .npz archive .*; take the password off it"
    ):
        open_checkpoint(tmp_path / "m.npz")


def test_python_objects_are_refused_without_advice_to_run_them(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.array([{}], dtype=object))
    with pytest.raises(SiglipError) as caught:
        open_checkpoint(tmp_path / "m.npz")
    assert "allow_pickle" not in str(caught.value)


def test_names_with_control_characters_are_shown_and_not_obeyed(tmp_path):
    save_file({"\x1b[31m\nred": np.ones(2, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(SiglipError) as caught:
        convert_model(tmp_path / "model.safetensors", tmp_path / "out")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
