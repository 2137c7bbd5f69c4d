"""Weights that give no numbers are refused, whichever side gives them."""

import pytest
import torch

from openjepa.errors import UsageError
from openjepa.interop.formats.compare import compare


@pytest.mark.parametrize(
    ("ours", "theirs", "said"), [(1, torch.nan, "exported encoder gives"), (torch.inf, 1, "damaged")]
)
def test_numbers_that_are_not_finite_are_refused(ours, theirs, said):
    pixels = torch.zeros(2, 3, 8, 8)

    def tokens(value):
        return lambda images: torch.full((len(images), 4, 5), float(value))

    with pytest.raises(UsageError, match=said):
        compare(tokens(theirs), tokens(ours), pixels)
