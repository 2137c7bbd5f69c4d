"""The line between weights: no loss for features that are equal up to a factor, a barrier between different starts."""

import pytest
import torch
from support.siblings import sibling

from openjepa.errors import UsageError
from openjepa.studies.ensemble.line import LIMIT, Line, lines_between, lost
from openjepa.studies.ensemble.members import open_members
from openjepa.studies.ensemble.soup import averaged


def test_what_is_lost_does_not_depend_on_a_factor_or_a_shift():
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    assert lost(features, 3 * features + 1) == pytest.approx(0, abs=1e-6)
    assert lost(features, -features) == lost(torch.zeros(40, 6), features) == 1
    half = torch.cat([features[:, :3], torch.zeros(40, 3)], dim=1)
    share = (half - half.mean(dim=0)).square().sum() / (features - features.mean(dim=0)).square().sum()
    assert lost(half, features) == pytest.approx(1 - float(share), abs=1e-5)


def test_siblings_have_no_barrier_and_strangers_have_one(tmp_path):
    names = [sibling(tmp_path / "a", 0), sibling(tmp_path / "b", 1), sibling(tmp_path / "c", 0, start=5)]
    members = open_members([*map(str, names)])
    images = torch.randint(0, 256, (60, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lines = lines_between(members, images, torch.device("cpu"), torch.float32)
    assert [line.names for line in lines] == [(str(names[a]), str(names[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert lines[0].barrier < 0.05 and min(lines[1].barrier, lines[2].barrier) > LIMIT
    lines[0].check()
    with pytest.raises(UsageError, match=r"a barrier of 0\.\d\d \(at most 0\.2\), so they do not come from one start"):
        lines[1].check()


def test_a_barrier_that_is_no_number_is_refused():
    with pytest.raises(UsageError):
        Line(("a", "b"), (0.0, float("nan"), 0.0)).check()


def test_weights_are_averaged_by_their_shares():
    networks = [torch.nn.Linear(2, 2) for _ in range(3)]
    found = averaged(networks, [0.5, 0.25, 0.25])
    torch.testing.assert_close(
        found.weight, sum(n.weight * s for n, s in zip(networks, (0.5, 0.25, 0.25), strict=True))
    )
    assert averaged(networks[:1]).weight.equal(networks[0].weight) and found is not networks[0]
