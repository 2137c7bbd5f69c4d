"""Features side by side: what each member is multiplied by, and what a projection keeps."""

import pytest
import torch
from support.siblings import sibling

from openjepa.encoder.whitening import Whitening
from openjepa.errors import UsageError
from openjepa.studies.ensemble.concat import joined_of, principal
from openjepa.studies.ensemble.members import open_members


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    return open_members([str(sibling(folder / "a", 0)), str(sibling(folder / "b", 0, start=1, embed_dim=48))])


def made_up(count):
    generator = torch.Generator().manual_seed(count)
    return [
        torch.randn(count, size, generator=generator) @ torch.randn(size, size, generator=generator) + 2
        for size in (32, 48)
    ]


def apply(joined, embeddings):
    return (torch.cat(embeddings, dim=1) - joined.get_buffer("centre")) @ joined.get_buffer("matrix")


def test_members_are_whitened_in_part_and_count_the_same(members):
    embeddings = made_up(200)
    found = apply(joined_of(members, embeddings), embeddings)
    for part, given in zip(found.split([32, 48], dim=1), embeddings, strict=True):
        white = Whitening.fit(given)(given)
        torch.testing.assert_close(part, white / white.var(dim=0).sum().sqrt(), atol=1e-4, rtol=1e-3)
        assert float(part.var(dim=0).sum()) == pytest.approx(1, rel=1e-4)
    narrow = apply(joined_of(members, embeddings, 10), embeddings).double()
    values = torch.linalg.svdvals(found.double())[:10].square()
    torch.testing.assert_close(narrow.square().sum(dim=0), values, rtol=1e-3, atol=1e-6)


def test_principal_directions_do_not_depend_on_the_sign_that_a_library_gives():
    rows = torch.randn(60, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    directions = principal(rows - rows.mean(dim=0), 3)
    assert (directions.gather(0, directions.abs().argmax(dim=0, keepdim=True)) > 0).all()
    torch.testing.assert_close(directions.T @ directions, torch.eye(3, dtype=torch.float64))


def test_too_many_numbers_are_refused(members, monkeypatch):
    monkeypatch.setattr("openjepa.studies.ensemble.concat.MOST_NUMBERS", 79)
    with pytest.raises(UsageError, match="all models give 80 numbers, and 79 are the most"):
        joined_of(members, made_up(60))
