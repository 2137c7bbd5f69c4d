"""docs/python.md: its blocks run in order as one script, and do what the page says."""

import csv
import re
from pathlib import Path

from support.photos import draw_photos

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_blocks_of_the_page_run(tmp_path, monkeypatch, capsys):
    draw_photos(tmp_path / "photos", 24, side=32)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in blocks():
        exec(compile(block, "python.md", "exec"), names)
    assert "--lr '1e-3' is not possible: give a number above 0" in capsys.readouterr().out
    steps = [int(step) for step, *_ in csv.reader(Path("loss.csv").read_text().splitlines())]
    assert steps == [2, 4, 6]
    # The same images in another form: the order, the crops and so the weights are the same.
    weights = {
        name: (tmp_path / "runs" / name / "encoder/model.safetensors").read_bytes() for name in ("list", "table")
    }
    assert weights["list"] == weights["table"]
