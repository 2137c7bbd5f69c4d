"""Processes that read images: no more of them than there is work for."""

import operator

from openjepa.data import batches
from openjepa.data.workers import mapped


def test_there_are_no_more_processes_than_items(monkeypatch):
    asked = []
    loader = batches.DataLoader
    monkeypatch.setattr(batches, "DataLoader", lambda *a, **how: asked.append(how["num_workers"]) or loader(*a, **how))
    assert list(batches.in_order(range(5), range(2), workers=4096)) == [0, 1] and asked == [2]
    assert list(mapped(operator.add, 1, [1, 2], workers=4096)) == [2, 3]
    assert list(mapped(operator.add, 1, [], workers=4096)) == []
