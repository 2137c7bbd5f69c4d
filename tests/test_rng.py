"""Random numbers by place: the same again, different elsewhere, for any seed."""

import itertools
import warnings

import numpy as np
import pytest

from openjepa.rng import CROPS, MASKS, generator


def test_every_place_has_its_own_numbers():
    seeds, streams, clock = (0, 1, -1, -2, 2**63, 2**64 - 3), (MASKS, CROPS), (0, 1)
    places = list(itertools.product(seeds, streams, clock, clock))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draws = [tuple(generator(*place).random(4)) for place in places]
        assert draws == [tuple(generator(*place).random(4)) for place in places]
    assert len(set(draws)) == len(places)


@pytest.mark.parametrize("first", [1, 1000])
def test_neighbours_do_not_share_a_sequence(first):
    """A long draw from one clock value does not run into the next."""
    a, b = generator(0, MASKS, first).random(10_000), generator(0, MASKS, first + 1).random(10_000)
    assert not np.isin(a, b).any()


@pytest.mark.parametrize("place", [(0, MASKS), (3, CROPS, 5), (-1, CROPS, 5, 7), (2**64 - 1, MASKS, 5, 7, 2**40)])
def test_a_generator_is_that_of_numpy_with_the_place_as_key_and_counter(place):
    seed, stream, *clock = place
    counter = [0, *clock, *[0] * (3 - len(clock))]
    philox = np.random.Philox(key=np.array([seed % 2**64, stream], np.uint64), counter=counter)
    expected = np.random.Generator(philox)
    found = generator(*place)
    assert (found.integers(7, size=5) == expected.integers(7, size=5)).all()
    assert (found.random(5) == expected.random(5)).all()
