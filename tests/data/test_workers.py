"""Processes that read images: no more of them than there is work for."""

import operator

import pytest

from openjepa.data import batches
from openjepa.data.workers import mapped
from openjepa.errors import UsageError
from openjepa.runs.images import check_workers


def test_there_are_no_more_processes_than_items(monkeypatch):
    asked = []
    loader = batches.DataLoader
    monkeypatch.setattr(batches, "DataLoader", lambda *a, **how: asked.append(how["num_workers"]) or loader(*a, **how))
    assert list(batches.in_order(range(5), range(2), workers=4096)) == [0, 1] and asked == [2]
    assert list(mapped(operator.add, 1, [1, 2], workers=4096)) == [2, 3]
    assert list(mapped(operator.add, 1, [], workers=4096)) == []


@pytest.mark.parametrize("workers", [-1, 4097, 2**32])
def test_an_impossible_number_is_refused(workers):
    with pytest.raises(UsageError, match="give 0 to 4,096"):
        check_workers(workers)
