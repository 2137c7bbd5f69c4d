"""SECURITY.md is found from README, and leads to the limits."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_linked_and_leads_to_the_limits():
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()
    assert "(docs/data.md#limits)" in (ROOT / "SECURITY.md").read_text()
    assert "\n## Limits\n" in (ROOT / "docs" / "data.md").read_text()
