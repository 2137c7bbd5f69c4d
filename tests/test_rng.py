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
