"""The worked examples of docs/development/architecture.md run as they stand on the page."""

import re
from pathlib import Path

import pytest
from support.processes import run_script

PAGE = Path(__file__).parents[1] / "docs/development/architecture.md"
MOST_LINES = 60


def examples() -> dict[str, str]:
    """The Python blocks of each section, in order, as one script."""
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.M)[1:]
    blocks = {s.splitlines()[0]: re.findall(r"^```python\n(.*?)^```", s, flags=re.M | re.S) for s in sections}
    return {title: "\n".join(found) for title, found in blocks.items() if found}


@pytest.mark.parametrize("title", examples())
def test_worked_example(title, tmp_path):
    script = examples()[title]
    assert len(script.splitlines()) <= MOST_LINES
    assert "assert " in script  # an example that checks nothing could not fail
    code, said = run_script(script, tmp_path)
    assert code == 0, said
