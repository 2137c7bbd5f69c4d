"""What `openjepa evaluate` costs on 10,000 + 10,000 images of CIFAR-10 with a ViT-Ti/4 at 32 px, from end to end.

python benchmarks/evaluation.py CIFAR.zip            the five tasks of users in a hurry, and again with features kept
python benchmarks/evaluation.py CIFAR.zip TASK ...   each task by itself, features kept where it asks for them

Each line: seconds by the clock, and processor seconds of all processes (user and system), which other programs on the
machine change less. The encoder is a run of one step, so pixels and an untrained encoder are measured beside it.
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

PER_CLASS = 1000
TASKS = "knn,linear,fewshot,retrieval,probe-appearance"
SHAPE = ("--model", "vit_tiny", "--image-size", "32", "--patch-size", "4", "--steps", "1", "--batch-size", "64")


def openjepa(*words: str) -> tuple[float, float]:
    """Run a command; seconds by the clock, and processor seconds."""
    clock, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "openjepa", *words], check=True)
    after = os.times()
    spent = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return time.perf_counter() - clock, spent


def unpack(archive: zipfile.ZipFile, part: str, folder: Path) -> Path:
    """The first thousand images of each class."""
    taken: dict[str, int] = {}
    for name in sorted(archive.namelist()):
        words = name.split("/")
        if words[0] == part and words[-1].endswith(".jpg") and taken.setdefault(words[1], 0) < PER_CLASS:
            archive.extract(name, folder)
            taken[words[1]] += 1
    return folder / part


def main(source: str, tasks: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(source) as archive:
            train, test = (unpack(archive, part, folder) for part in ("train", "test"))
        openjepa("pretrain", str(train), "--out", f"{folder}/run", *SHAPE)
        common = ("evaluate", f"{folder}/run", str(train), "--test", str(test), "--cache", f"{folder}/kept")
        found = {}
        for when in ("first", "again") if not tasks else ():
            found[f"{TASKS}, {when}"] = openjepa(*common, "--tasks", TASKS, "--shots", "10")
        for task in tasks:
            found[task] = openjepa(*common, "--tasks", task, "--shots", "10", "--epochs", "1")
    for what, (clock, spent) in found.items():
        print(f"{what}: {clock:.0f} s, {spent:.0f} processor seconds")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
