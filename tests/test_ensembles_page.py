"""docs/ensembles.md says what works: each command and each Python block is run, on small untrained models."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.photos import draw_photos
from support.siblings import sibling

import openjepa
from openjepa.cli import main
from openjepa.interop.classifier import save_classifier

PAGE = (Path(__file__).parents[1] / "docs" / "ensembles.md").read_text()
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("openjepa ")]
(BLOCK,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def home(tmp_path):
    for moved, name in enumerate(("a", "b", "c")):
        sibling(tmp_path / "runs" / name, moved, embed_dim=96, num_heads=4)
    sibling(tmp_path / "runs/mae", 0, start=3, embed_dim=96, num_heads=4)
    for name in ("photos", "labelled"):
        draw_photos(tmp_path / name, 140, side=16)
    for name in ("a", "b"):
        encoder = openjepa.load_encoder(tmp_path / "runs" / name)
        hashes = torch.zeros(1, dtype=torch.int64).numpy()
        save_classifier(
            tmp_path / "heads" / name, encoder, torch.randn(2, 96), torch.zeros(2), ["cat", "dog"], {}, hashes
        )
    return tmp_path


def test_the_page_is_run(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    for command in COMMANDS:
        fast = " --tasks knn" if " evaluate " in command else ""
        monkeypatch.setattr(sys, "argv", shlex.split(f"{command}{fast} --workers 0 --device cpu --precision float32"))
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, (command, capsys.readouterr().err)
    known = {"images": [Image.open(path) for path in sorted(home.glob("photos/*/*.jpg"))[:3]]}
    exec(BLOCK, known)
    assert known["vectors"].shape == (3, 128)
