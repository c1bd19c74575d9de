"""Files are read ahead by other threads: in order, bounded, and with every error where it belongs."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from PIL import Image

from numpy_siglip import Embedder, ImageError
from numpy_siglip.embedding.reading_ahead import reading_threads, run_ahead


@pytest.fixture
def pool():
    with reading_threads(4) as pool:
        yield pool


def _always(item):
    return True


def test_results_come_in_the_order_of_the_stream(pool):
    def slow_at_first(number):
        time.sleep(0.02 if number % 4 == 0 else 0)
        return number * number

    results = run_ahead(range(40), slow_at_first, pool, apart=_always, ahead=8)
    assert [(item, outcome()) for item, outcome in results] == [(n, n * n) for n in range(40)]


@pytest.mark.parametrize("apart", [_always, lambda item: False])
def test_no_more_of_the_stream_is_taken_than_is_said(apart, pool):
    taken = []

    def stream():
        for number in range(100):
            taken.append(number)
            yield number

    results = run_ahead(stream(), lambda number: number, pool, apart=apart, ahead=5)
    for done in range(100):
        item, outcome = next(results)
        assert item == outcome() == done
        assert len(taken) <= done + 5
    assert next(results, None) is None


def test_the_error_of_an_item_is_its_own(pool):
    def inverse(number):
        return 1 / number

    for apart in (_always, lambda item: False):
        found = []
        for item, outcome in run_ahead([2, 0, 4], inverse, pool, apart=apart, ahead=3):
            try:
                found.append((item, outcome()))
            except ZeroDivisionError:
                found.append((item, None))
        assert found == [(2, 0.5), (0, None), (4, 0.25)]


def test_the_error_of_the_stream_comes_behind_what_was_before_it(pool):
    def stream():
        yield from (1, 2, 3)
        raise ImageError("no such folder")

    results = run_ahead(stream(), lambda number: number, pool, apart=_always, ahead=8)
    assert [next(results)[1]() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ImageError, match="no such folder"):
        next(results)


def test_nothing_new_is_begun_once_nobody_asks():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.05)

    with reading_threads(2) as pool:
        results = run_ahead(range(100), work, pool, apart=_always, ahead=50)
        next(results)[1]()
    time.sleep(0.2)
    assert len(begun) <= 6


def test_files_are_read_by_other_threads_and_give_the_same_bits(toy_folder, photos, monkeypatch):
    from numpy_siglip.embedding import image_batches

    readers = set()
    read_image = image_batches.read_image

    def watched(path, resized_to):
        readers.add(threading.current_thread().name)
        return read_image(path, resized_to)

    monkeypatch.setattr(image_batches, "read_image", watched)
    embedder = Embedder.from_pretrained(toy_folder, threads=2)
    alone = np.concatenate([embedder.embed_images([photo]) for photo in photos])
    many = [*photos, "missing.jpg", *photos]
    result = embedder.embed_images(many, batch_size=3, on_error="skip")
    assert result.rows.tobytes() == np.concatenate([alone, alone]).tobytes()
    assert list(result.errors) == [len(photos)]
    assert all(name.startswith("numpy-siglip-images") for name in readers)


def test_pictures_in_memory_are_read_when_they_are_handed_over(toy_folder):
    """Whoever makes them may draw the next one into the same array."""
    embedder = Embedder.from_pretrained(toy_folder)
    generator, frame = np.random.default_rng(0), np.empty((44, 44, 3), np.uint8)
    frames = [generator.integers(0, 256, frame.shape, np.uint8) for _ in range(7)]

    def film():
        for one in frames:
            frame[:] = one
            yield frame

    expected = embedder.embed_images(frames)
    assert embedder.embed_images(film(), batch_size=3).tobytes() == expected.tobytes()


def test_one_open_image_many_times(toy_folder, photos):
    """Pillow decodes an image when it is first asked for its pixels, and no two threads may ask at once."""
    embedder = Embedder.from_pretrained(toy_folder)
    with Image.open(photos[0]) as image:
        rows = embedder.embed_images([image] * 20, batch_size=7)
    assert np.unique(rows, axis=0).shape[0] == 1


def test_batches_before_an_error_are_handed_out(toy_folder, photos):
    def stream():
        yield from photos[:2]
        raise ImageError("the camera was taken away")

    batches = Embedder.from_pretrained(toy_folder).embed_batches(stream(), batch_size=2)
    assert next(batches)[0] == photos[:2]
    with pytest.raises(ImageError, match="the camera"):
        next(batches)
