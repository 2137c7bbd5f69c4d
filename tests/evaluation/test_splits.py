import numpy as np
import pytest
from support.photos import draw_photos

from openjepa.data.open import open_dataset
from openjepa.errors import UsageError
from openjepa.evaluation.splits import aligned_labels, check_labels, holdout_split, split_held_out

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 4, 9], [2, 10, 100, 333]))


@pytest.mark.parametrize("fraction", [0.001, 0.2, 0.5, 0.999])
def test_every_class_is_held_out_in_proportion_and_is_on_both_sides(fraction):
    train, holdout = holdout_split(LABELS, fraction, seed=3)
    assert np.array_equal(np.sort(np.concatenate([train, holdout])), np.arange(len(LABELS)))
    for label in np.unique(LABELS):
        n, held = np.sum(label == LABELS), np.sum(LABELS[holdout] == label)
        assert 1 <= held < n
        assert abs(held - fraction * n) <= 1


def test_the_seed_decides_and_nothing_else():
    state = np.random.get_state()[1].copy()
    first, again, other = (holdout_split(LABELS, 0.3, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(state, np.random.get_state()[1])


def test_every_image_is_as_likely_to_be_held_out():
    labels = np.repeat([0, 1], [10, 40])
    held = np.bincount(np.concatenate([holdout_split(labels, 0.2, seed)[1] for seed in range(1000)]), minlength=50)
    assert abs(held / 1000 - 0.2).max() < 0.05


@pytest.mark.parametrize(
    ("labels", "fraction", "message"),
    [
        ([0, 0, 1, -1, -1], 0.2, r"1 of 2 classes have a single image \(dog\): .* 2 images of at least 2 classes"),
        ([2, 2, 2], 0.2, r"only one class \(emu\) was found: .* at least 2 classes"),
        ([], 0.2, "no labels were found"),
        ([0, 0, 1, 1], 1.0, "fraction of 1.0 was given: it must lie between 0 and 1"),
    ],
)
def test_refuses_in_words_what_cannot_be_split(labels, fraction, message):
    with pytest.raises(UsageError, match=message):
        holdout_split(np.array(labels, np.int64), fraction, seed=0, names=["cat", "dog", "emu", "fox"])


def test_a_long_list_of_classes_is_cut_short_and_unnamed_ones_are_numbered():
    with pytest.raises(UsageError, match=r"8 of 8 classes have a single image \(0, 1, 2, 3, 4 and 3 more\)"):
        holdout_split(np.arange(8), 0.5, seed=0)


def test_labels_are_aligned_by_name(tmp_path):
    train = open_dataset(draw_photos(tmp_path / "train", 12, ("ant", "bee", "cow")))
    test = open_dataset(draw_photos(tmp_path / "test", 6, ("bee", "cow")))
    check_labels(train, test)
    labels = aligned_labels(test, train, np.arange(6))["class"]
    assert {path.split("/")[0]: int(label) for path, label in zip(test.paths, labels, strict=True)} == {
        "bee": 1,
        "cow": 2,
    }
    with pytest.raises(UsageError, match="ant"):
        check_labels(test, train)


def test_the_held_out_fifth(photos):
    train, test = split_held_out(open_dataset(photos), 0)
    assert not set(train.paths) & set(test.paths) and len(train) + len(test) == 24
    assert sorted(np.bincount(test.labels["class"])) == [2, 2]
    assert split_held_out(open_dataset(photos), 0)[1].paths == test.paths
    assert split_held_out(open_dataset(photos), 1)[1].paths != test.paths
