"""SECURITY.md states the limits that hold."""

from pathlib import Path

import pytest

from openjepa.safety.limits import LIMITS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_limit_is_listed_with_its_default(limit):
    assert (
        f"| `{limit.variable}` | {limit.default:,} {limit.unit} | {limit.help} |" in (ROOT / "SECURITY.md").read_text()
    )


def test_the_page_is_linked():
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()
