"""What `openjepa evaluate` costs, from end to end.

python benchmarks/evaluation.py CIFAR.zip
    10,000 + 10,000 images of CIFAR-10 with a ViT-Ti/4 at 32 px, five tasks; and again with the features kept
python benchmarks/evaluation.py
    each task by itself, on 2,000 + 1,000 drawn scenes with a ViT nano/8 at 48 px, and again with the features kept

Each line: seconds by the clock, and processor seconds of all processes (user and system), which other programs on the
machine change less. The encoder is a run of one step, so pixels and an untrained encoder are measured beside it;
starting Python and reading or drawing the images are part of each line.
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from openjepa.evaluation.tasks.registry import TASKS

PER_CLASS = 1000
HURRY = "knn,linear,fewshot,retrieval,probe-appearance"
SCENES = "scenes:2000:0", "scenes:1000:1"
TINY = ("--model", "vit_tiny", "--image-size", "32", "--patch-size", "4")
NANO = ("--model", "vit_nano", "--image-size", "48", "--patch-size", "8")


def openjepa(*words: str) -> tuple[float, float]:
    """Run a command; seconds by the clock, and processor seconds."""
    clock, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "openjepa", *words], check=True)
    after = os.times()
    spent = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return time.perf_counter() - clock, spent


def show(what: str, cost: tuple[float, float]) -> None:
    print(f"==> {what}: {cost[0]:.0f} s, {cost[1]:.0f} processor seconds", flush=True)


def unpack(archive: zipfile.ZipFile, part: str, folder: Path) -> str:
    """The first thousand images of each class, as a folder."""
    taken: dict[str, int] = {}
    for name in sorted(archive.namelist()):
        words = name.split("/")
        if words[0] == part and words[-1].endswith(".jpg") and taken.setdefault(words[1], 0) < PER_CLASS:
            archive.extract(name, folder)
            taken[words[1]] += 1
    return str(folder / part)


def commands(folder: Path, train: str, test: str, shape: tuple[str, ...]) -> tuple[str, ...]:
    """The words of an evaluation of a run, which is made: one step on few images, because that costs least."""
    openjepa("pretrain", "scenes:64:0", "--out", f"{folder}/run", *shape, "--steps", "1", "--batch-size", "8")
    return "evaluate", f"{folder}/run", train, "--test", test, "--cache", f"{folder}/kept", "--shots", "10"


def main(source: str | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if source is None:
            words = commands(folder, *SCENES, NANO)
            for task in TASKS:
                for when in ("", ", again"):
                    show(task + when, openjepa(*words, "--tasks", task, "--epochs", "1"))
            return
        with zipfile.ZipFile(source) as archive:
            train, test = (unpack(archive, part, folder) for part in ("train", "test"))
        words = commands(folder, train, test, TINY)
        for when in ("the first time", "again"):
            show(f"{HURRY}, {when}", openjepa(*words, "--tasks", HURRY))


if __name__ == "__main__":
    main(*sys.argv[1:2] or [None])
