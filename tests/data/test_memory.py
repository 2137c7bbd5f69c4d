import io
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from openjepa.data import batches
from openjepa.data.batches import in_order
from openjepa.data.crops import Frame
from openjepa.data.memory import decoded_bytes, hold_in_memory, shorter_sides
from openjepa.data.open import open_dataset
from openjepa.data.statistics import channel_statistics
from openjepa.data.summary import inspect_dataset
from openjepa.encoder.features import Crops
from openjepa.errors import BadImage, UsageError


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(70):
        (tmp_path / f"{number % 2}").mkdir(exist_ok=True)
        height, width = rng.integers(4, 20, 2)
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        image.save(tmp_path / f"{number % 2}/{number:02d}.png")
    for name in ("0/04.png", "1/33.png"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
    return open_dataset(tmp_path)


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_held_images_equal_the_files_for_any_number_of_workers(photos, method, workers, monkeypatch):
    monkeypatch.setattr(
        multiprocessing.context._default_context, "_actual_context", multiprocessing.get_context(method)
    )
    steps = []
    held, bad = hold_in_memory(photos, 0, lambda *step: steps.append(step))
    assert steps == [(done, 70) for done in range(1, 71)]
    assert bad == [("0/04.png", "truncated"), ("1/33.png", "truncated")]
    assert held.paths == [*photos.paths] and len(held) == 70
    np.testing.assert_array_equal(held.labels["class"], photos.labels["class"])
    parallel, bad_too = hold_in_memory(photos, workers)
    assert bad_too == bad
    for index, path in enumerate(photos.paths):
        if path in dict(bad):
            for each in (held, parallel):
                with pytest.raises(BadImage, match="truncated"):
                    each.load(index)
            continue
        expected = np.asarray(photos.load(index))
        np.testing.assert_array_equal(np.asarray(held.load(index)), expected)
        np.testing.assert_array_equal(np.asarray(parallel.load(index)), expected)


def test_an_image_that_could_not_be_read_is_tried_again(photos, tmp_path):
    """As one is that is read from the disk each time: a network that failed for a moment costs one turn."""
    held, bad = hold_in_memory(photos, 0)
    assert [path for path, _ in bad] == ["0/04.png", "1/33.png"]
    part = pickle.loads(pickle.dumps(held.subset([*range(60, 70), held.paths.index("1/33.png")])))
    Image.new("RGB", (9, 7), (1, 2, 3)).save(tmp_path / "1/33.png")
    for dataset, index in ((held, held.paths.index("1/33.png")), (part, 10)):
        assert np.asarray(dataset.load(index)).shape == (7, 9, 3)
    assert shorter_sides(held).min() >= 4 and (shorter_sides(held) > 10**6).sum() == 2


def test_subset_and_pickle(photos):
    held, _ = hold_in_memory(photos, 0)
    part = pickle.loads(pickle.dumps(held.subset([5, 3])))
    assert part.paths == [held.paths[5], held.paths[3]] and part.labels["class"].tolist() == [0, 0]
    np.testing.assert_array_equal(np.asarray(part.load(1)), np.asarray(held.load(3)))


def test_estimate_equals_the_bytes_of_all_pixels(photos):
    dataset, summary = inspect_dataset(photos)
    sizes = [Image.open(io.BytesIO(dataset.read(index))).size for index in range(len(dataset))]
    assert decoded_bytes(summary) == sum(width * height * 3 for width, height in sizes)


def test_nothing_decodable_is_an_error(photos):
    broken = photos.subset([photos.paths.index("0/04.png")])
    with pytest.raises(UsageError, match=r"can be decoded \(1 tried; 0/04\.png: truncated\)"):
        hold_in_memory(broken, 0)
    with pytest.raises(UsageError, match="can be decoded"):
        channel_statistics(broken)


def test_statistics_equal_numpy_over_all_pixels(photos):
    held, _ = hold_in_memory(photos, 0)
    pixels = np.concatenate([np.asarray(held.load(i)).reshape(-1, 3) for i in np.flatnonzero(held.shapes[:, 0])]) / 255
    mean, std = channel_statistics(photos)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-12)
    assert channel_statistics(photos, sample=20, seed=1) == channel_statistics(photos, sample=20, seed=1)
    assert channel_statistics(photos, sample=20, seed=1) != channel_statistics(photos, sample=20, seed=2)


def test_statistics_of_one_colour_stay_divisible(tmp_path):
    Image.new("RGB", (5, 5), (255, 51, 0)).save(tmp_path / "a.png")
    mean, std = channel_statistics(open_dataset(tmp_path))
    np.testing.assert_allclose(mean, [1, 0.2, 0])
    assert std == [1e-3] * 3


def test_workers_that_are_not_forked_share_the_buffer(photos, monkeypatch):
    monkeypatch.setattr(batches, "start_method", lambda: multiprocessing.get_context("spawn"))
    images, _ = hold_in_memory(photos, 0)
    here = [chunk for chunk, *_ in in_order(Crops(images, Frame((8, 8)), 8), range(3), 0)]
    there = [chunk for chunk, *_ in in_order(Crops(images, Frame((8, 8)), 8), range(3), 1)]
    assert all(map(torch.equal, here, there)) and images.shared.is_shared()
    assert np.shares_memory(images.pixels, images.shared.numpy())


SCRIPT = """
import multiprocessing
from openjepa.data.workers import mapped
multiprocessing.set_start_method("spawn", force=True)
list(mapped(max, 1, [2, 3], 1))
"""


def test_a_script_without_a_guard_is_told_what_to_do(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    worker, *error = done.stderr.splitlines()
    assert worker.startswith("openjepa: this script runs in a worker process: put what it does below `if __name__")
    assert error[-1].startswith("openjepa.errors.UsageError: a worker process ended unexpectedly")
