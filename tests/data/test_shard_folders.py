"""Folders of shards are told from folders of classes."""

import pytest

from openjepa.data.shard_folders import look_like_shards, shard_lines


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        ([f"{n:05}" for n in range(2000)], [1000] * 1999 + [17]),
        ([f"shard_{n}" for n in range(12)], [980, 1000] * 6),
        ([str(n) for n in range(1, 301)], [50] * 300),
    ],
)
def test_shards(names, sizes):
    assert look_like_shards(dict(zip(names, sizes, strict=True)))


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (["cat", "dog"], [1000, 1000]),
        ([str(n) for n in range(10)], [5000] * 10),  # digits, and CIFAR's classes by number
        ([str(n) for n in range(100)], [500] * 100),
        ([f"n{n:08}" for n in range(1440764, 1440764 + 7 * 1000, 7)], [1300] * 1000),  # synsets of ImageNet
        ([f"{n:03}" for n in range(1, 103)], [40 + n for n in range(102)]),  # classes of unequal size
        ([f"{n:02}.bird" for n in range(200)], [60] * 200),
        ([f"part{n}" for n in range(4)], [60] * 4),
    ],
)
def test_classes(names, sizes):
    assert not look_like_shards(dict(zip(names, sizes, strict=True)))


def test_the_line_counts_them_and_says_what_to_do():
    classes = {"class": {f"{n:05}": 1000 for n in range(2000)}}
    assert shard_lines(classes, "--no-labels ignores them") == [
        "note: 2,000 folders of about 1,000 images each, named by numbers: are these shards and not classes? "
        "--no-labels ignores them"
    ]
    assert shard_lines({}, "") == shard_lines({"kind": classes["class"]}, "") == []
