"""Near duplicates are found, and pictures that only share colours, slopes or a frame are not."""

import io
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from openjepa.data.open import open_dataset
from openjepa.encoder.features import compute_features
from openjepa.evaluation import same_view
from openjepa.evaluation.near_duplicates import (
    SIDE,
    GreyThumbnails,
    _correlations,
    alike_groups,
    distinct,
    larger_of,
    near_duplicates,
)
from openjepa.evaluation.same_view import registered, textures


def thumbnails(images) -> torch.Tensor:
    small = [np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in images]
    return GreyThumbnails().features(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2))


def rough(count, seed=0, low=40, high=200):
    """Pictures that have nothing in common."""
    values = np.random.default_rng(seed).integers(low, high, (count, 12, 12, 3), dtype=np.uint8)
    return [Image.fromarray(each).resize((64, 64), Image.Resampling.BICUBIC) for each in values]


def recoded(image):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


COPIES = {
    "re-encoded": recoded,
    "half": lambda image: image.resize((32, 32)),
    "brighter": lambda image: image.point(lambda value: min(255, round(1.1 * value))),
    "cropped": lambda image: image.resize((64, 64), Image.Resampling.BICUBIC, box=(0.64, 0.64, 63.36, 63.36)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_with_their_originals(kind):
    train = rough(40)
    test = [*rough(40, seed=1), *(COPIES[kind](image) for image in train)]
    alike = near_duplicates(thumbnails(train), thumbnails(test))
    assert alike.found.tolist() == list(range(40, 80)) and alike.partners[40:].tolist() == list(range(40))


def cast(image):
    """Low in contrast, on a strong colour, as all images of one satellite are."""
    return Image.fromarray((np.asarray(image) * 0.2 + (30, 90, 160)).astype(np.uint8))


def on_a_slope(image):
    """Under light that falls off to one side, by far more than the picture varies."""
    return Image.fromarray((np.asarray(image) * 0.2 + np.linspace(0, 200, 64)[:, None, None]).astype(np.uint8))


def framed(image):
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[8:-8] = np.asarray(image.resize((64, 48))) // 4
    return Image.fromarray(pixels)


@pytest.mark.parametrize("change", [cast, on_a_slope, framed])
def test_what_all_images_share_makes_none_alike(change):
    train, test = (thumbnails([change(image) for image in rough(40, seed)]) for seed in (0, 1))
    assert not len(near_duplicates(train, test).found) and not alike_groups(train).groups
    copies = thumbnails([change(recoded(image)) for image in rough(40)])
    assert len(near_duplicates(train, copies).found) == 40


def test_flat_images_are_set_aside_and_counted():
    flat = thumbnails([Image.new("RGB", (64, 64), (k, 90, 200)) for k in range(3)])
    assert not len(near_duplicates(flat, flat).found)
    assert near_duplicates(flat, torch.cat([flat, thumbnails(rough(2))])).flat == 6
    found = alike_groups(torch.cat([flat, thumbnails(rough(2)), thumbnails(rough(1))]))
    assert (found.flat, found.groups) == (3, [[3, 5]])


def test_groups_hold_all_that_are_alike():
    images = rough(30)
    copies = [images[3], recoded(images[3]), images[7].resize((32, 32)), images[3].resize((40, 40))]
    assert alike_groups(thumbnails([*images, *copies])).groups == [[3, 30, 31, 33], [7, 32]]


def test_of_a_static_camera_only_the_closest_are_alike():
    background = np.asarray(rough(1, seed=5)[0]).astype(int)
    frames = [
        Image.fromarray((background + (np.asarray(extra).astype(int) - 120) // 12).clip(0, 255).astype(np.uint8))
        for extra in rough(80)
    ]
    train, test = thumbnails(frames[:40]), thumbnails(frames[40:])
    alike = near_duplicates(train, test)
    assert alike.one_view and not len(alike.found)
    again = near_duplicates(train, thumbnails([*frames[40:], frames[0], frames[9].resize((32, 32))]))
    assert again.found.tolist() == [40, 41] and again.partners[40:].tolist() == [0, 9]


def on_one_view(count, seed):
    """128 px of a fixed background, each with specks of its own."""
    background = np.random.default_rng(9).integers(60, 190, (32, 32), dtype=np.uint8)
    shared = np.asarray(Image.fromarray(background).resize((128, 128), Image.Resampling.BICUBIC)).astype(int)
    specks = np.random.default_rng(seed).integers(-50, 50, (count, 40, 40))
    own = [np.asarray(Image.fromarray((each + 128).astype(np.uint8)).resize((128, 128))) for each in specks]
    return [Image.fromarray((shared + (each.astype(int) - 128) // 2).clip(0, 255).astype(np.uint8)) for each in own]


def saved(folder, images):
    """The thumbnails of images, and what gives larger ones, as read from a folder."""
    folder.mkdir()
    for number, image in enumerate(images):
        image.save(folder / f"{number:03}.png")
    dataset = open_dataset(folder)
    found, kept, _ = compute_features(GreyThumbnails(), dataset, workers=0)
    return found, larger_of(dataset, kept)


VIEW_COPIES = {
    **COPIES,
    "half": lambda image: image.resize((64, 64)),
    "cropped": lambda image: image.crop((1, 1, 127, 127)),
    "cropped and re-encoded": lambda image: recoded(image.crop((1, 1, 127, 127))),
}


def test_of_a_static_camera_copies_are_found_by_their_texture(tmp_path):
    frames = on_one_view(32, 0)
    copies = [change(frames[number].convert("RGB")) for number in range(2) for change in VIEW_COPIES.values()]
    train, larger = saved(tmp_path / "train", frames)
    test, others = saved(tmp_path / "test", [*on_one_view(20, 1), *copies])
    alike = near_duplicates(train, test, (larger, others))
    assert alike.one_view and alike.found.tolist() == list(range(20, 20 + len(copies)))
    assert alike.partners[20:].tolist() == np.repeat(range(2), len(VIEW_COPIES)).tolist()


def test_groups_of_a_static_camera_hold_cropped_copies_and_no_unreadable_image(tmp_path):
    frames = on_one_view(32, 0)
    small, larger = saved(
        tmp_path / "a", [Image.new("L", (128, 128), 90), *frames, frames[2].crop((1, 1, 127, 127)), recoded(frames[6])]
    )
    (tmp_path / "a/007.png").write_bytes(b"damaged after the thumbnails were made")
    found = alike_groups(small, larger)
    assert (found.groups, found.flat, found.one_view) == ([[3, 33]], 1, True)


def test_registration_undoes_a_crop():
    image = torch.from_numpy(np.asarray(rough(1)[0].convert("L").resize((96, 96), Image.Resampling.BICUBIC)).copy())
    moved = Image.fromarray(image.numpy()).resize((96, 96), Image.Resampling.BICUBIC, box=(2, 1, 95, 94))
    back = registered(torch.from_numpy(np.asarray(moved).copy())[None].float(), image[None].float())[0]
    inside = (back - image)[3:-3, 3:-3].abs().mean()
    assert inside < (torch.from_numpy(np.asarray(moved).copy()).float() - image)[3:-3, 3:-3].abs().mean() / 5


def test_memory_is_bounded_where_all_are_alike():
    same = thumbnails(rough(1)).repeat(6000, 1)  # 18 million pairs
    tracemalloc.start()
    assert [len(group) for group in alike_groups(same).groups] == [6000]
    assert len(near_duplicates(same, same).found) == 6000
    peak = tracemalloc.get_traced_memory()[1]  # numpy's arrays; those of torch are no more than the pairs held
    tracemalloc.stop()
    assert peak < 150e6


def test_equal_images_are_alike_without_being_registered(monkeypatch):
    """A set of one image ten thousand times over would be registered pair by pair, for minutes."""
    images = [np.random.default_rng(seed).integers(0, 256, (96, 96), dtype=np.uint8) for seed in (0, 0, 1)]
    calls = []
    monkeypatch.setattr(same_view, "registered", lambda one, other: calls.append(len(one)) or one)
    found = textures(images.__getitem__, images.__getitem__, np.array([[0, 1], [0, 2], [1, 0]]))
    assert found[[0, 2]].tolist() == [1, 1] and found[1] < 0.5 and calls == [1]


def test_equal_images_are_compared_once(tmp_path, monkeypatch):
    """A file of 36,000 equal pages took minutes and gigabytes, page against page."""
    frames = on_one_view(32, 0)
    small, larger = saved(tmp_path / "a", [*frames, *[frames[4]] * 60])
    compared = []
    monkeypatch.setattr(
        same_view, "_textures", lambda *args, of=same_view._textures: compared.append(args[2]) or of(*args)
    )
    monkeypatch.setattr(same_view, "SAMPLE", 16)
    found = alike_groups(small, larger)
    assert (found.groups, found.one_view) == ([[4, *range(32, 92)]], True)
    assert max(int(pairs.max()) for pairs in compared) < 32
    alike = near_duplicates(small[:40], small, (larger, larger))
    assert alike.partners[32:].tolist() == [4] * 60


def test_correlations_use_the_same_memory_for_every_part(monkeypatch):
    monkeypatch.setattr("openjepa.evaluation.near_duplicates.HELD", 40)
    images = torch.eye(10)
    parts = [(start, part.data_ptr(), part.clone()) for start, part in _correlations(images[:9], images)]
    assert [start for start, *_ in parts] == [0, 4, 8] and len({place for _, place, _ in parts}) == 1
    assert torch.equal(torch.cat([part for *_, part in parts]), images[:9])


def test_images_with_one_thumbnail_but_other_details_are_not_equal():
    small = torch.ones(4, 256)
    larger = [np.zeros((96, 96), np.uint8), np.zeros((96, 96), np.uint8), np.eye(96, dtype=np.uint8), None].__getitem__
    assert [each.tolist() for each in distinct(small)] == [[0], [0, 0, 0, 0]]
    assert [each.tolist() for each in distinct(small, larger)] == [[0, 2, 3], [0, 0, 1, 2]]


def test_larger_images_that_had_to_leave_memory_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("openjepa.evaluation.near_duplicates.LARGER_HELD", 4)
    _, larger = saved(tmp_path / "a", rough(7))
    (tmp_path / "a/005.png").write_bytes(b"damaged after the thumbnails were made")
    first = [None if (image := larger(number)) is None else image.copy() for number in range(7)]
    assert [number for number, image in enumerate(first) if image is None] == [5]
    for number in (6, 0, 1, 5, 3, 0, 2, 6, 4):
        again = larger(number)
        assert again is first[number] is None or np.array_equal(again, first[number])
    assert len({image.tobytes() for image in first if image is not None}) == 6
