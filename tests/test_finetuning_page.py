"""docs/finetuning.md says what works: each command and each Python block is run."""

import csv
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.photos import draw_photos

import openjepa
from openjepa.cli import main
from openjepa.runs.finetuning import start

PAGE = (Path(__file__).parents[1] / "docs" / "finetuning.md").read_text()
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("openjepa ")]
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def write_list(path: Path, names: list[str]) -> None:
    columns = ["path", "colours", "red", "green", "weight", "eggs"]
    cells = [[["red", "green", "red|green", "[]"][n % 4], n % 2, n // 2 % 2, 1.5 * n, n % 3] for n in range(len(names))]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *([name, *row] for name, row in zip(names, cells, strict=True))])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for folder in ("labelled", "more"):
        draw_photos(home / folder, 16)
    for name, folder in (("birds.csv", "labelled"), ("more.csv", "more")):
        write_list(home / name, sorted(str(path.relative_to(home)) for path in (home / folder).rglob("*.jpg")))
    small = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "precision": "float32"}
    openjepa.pretrain(str(home / "labelled"), out=home / "runs/photos", steps=2, **small)
    return home


@pytest.mark.filterwarnings("ignore")
def test_the_page_is_run(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr(start, "LEAST_STEPS", 2)
    for command in COMMANDS:
        fast = " --epochs 1 --workers 0 --precision float32" if " finetune " in command else ""
        monkeypatch.setattr(sys, "argv", shlex.split(command + fast))
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, command
    images = [Image.open(path) for path in sorted((home / "labelled").rglob("*.jpg"))]
    known = {"images": images, "weights": list(np.linspace(1, 9, len(images)))}
    for block in BLOCKS:
        exec(block.replace('labels="weight")', 'labels="weight", workers=0, epochs=1)'), known)
    assert known["model"].config.id2label == {0: "cat", 1: "dog"}
    assert (home / "runs/weights/model/model.safetensors").is_file()
    assert (home / "classes-onnx/classifier.onnx").is_file()
