"""docs/evaluation.md and its results say what works: each command in their blocks is run, on stand-ins for archives."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from support.packing import as_zip
from support.photos import draw_photos

import openjepa
from openjepa.cli import main

PAGES = [Path(__file__).parents[1] / "docs" / name for name in ("evaluation.md", "results/evaluation.md")]
TORCHRUN = "torchrun --nproc-per-node 8 -m "  # several processes are tested elsewhere
PHOTOS = {"side": 32, "count": 24}


def commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", "".join(page.read_text() for page in PAGES), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").replace(TORCHRUN, "").splitlines()
    return [line for line in lines if line.startswith("openjepa ")]


def pack_clevr(home: Path, folder: Path) -> None:
    for part, most in (("train", 4), ("val", 6)):
        images = draw_photos(folder / f"input/{part}/images", 24, (), side=32)
        (folder / f"input/{part}/scenes").mkdir()
        for number, path in enumerate(sorted(images.iterdir())):
            objects = [{"pixel_coords": [1, 2, 7.7 + number % 4]}] * (1 + number % most)
            scene = json.dumps({"image_filename": path.name, "objects": objects})
            (folder / f"input/{part}/scenes/{path.stem}.json").write_text(scene)
    as_zip(folder, home / "clevr_mini_125.zip")


def pack_cells(home: Path, folder: Path) -> None:
    images = draw_photos(folder / "BCCD/JPEGImages", 24, (), side=32)
    (folder / "BCCD/Annotations").mkdir()
    for number, path in enumerate(sorted(images.iterdir())):
        boxes = "<object/>" * (1 + number % 12)
        (folder / f"BCCD/Annotations/{path.stem}.xml").write_text(f"<annotation>{boxes}</annotation>")
    as_zip(folder, home / "bccd_364.zip")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """What the commands name."""
    home, packed = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("packed")
    for name in ("labelled", "c10/train", "c10/test", "imagenet/train", "imagenet/val"):
        draw_photos(home / name, **PHOTOS)
    draw_photos(home / "more", 4, (), side=32)
    for part in ("train", "val"):
        draw_photos(packed / "nette" / part, **PHOTOS)
    as_zip(packed / "nette", home / "imagenette128_all.zip")
    pack_clevr(home, packed / "clevr")
    pack_cells(home, packed / "cells")
    run = home / "runs/photos"
    openjepa.pretrain(str(home / "labelled"), out=run, steps=2, image_size=16, batch_size=8, workers=0)
    for name in ("pure-vit_nano-10m-seed0", "large"):
        shutil.copytree(run, run.with_name(name))
    return home


@pytest.mark.parametrize("command", commands())
def test_the_command_works(home, command, monkeypatch, capsys):
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), "--workers", "0"])
    try:
        main()
    except SystemExit as end:
        assert not end.code, capsys.readouterr().err
    if "clevr" in command and "--test" in command:
        said = " ".join(capsys.readouterr().out.split())
        assert "8 of 24 test images show counts that no training image shows (from 5 to 6)" in said


def test_the_page_has_its_commands():
    assert len(commands()) >= 8
