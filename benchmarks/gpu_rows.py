"""The rows that the parts of gpu.py leave: one JSON line a result, written at once."""

import argparse
import json
import platform
import tarfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def card(device: torch.device) -> str:
    """The name of the device's card, or cpu, as a part of a file name."""
    return torch.cuda.get_device_name(device).replace(" ", "-") if device.type == "cuda" else device.type


class Rows:
    """Appends results of one `part` to a file and prints them."""

    def __init__(self, path: Path, part: str) -> None:
        self.path, self.part, self.begun, self.failed = path, part, time.monotonic(), False

    def add(self, name: str, **found: object) -> None:
        """One result, with the seconds since the part began."""
        row = {"part": self.part, "name": name, **found, "at": round(time.monotonic() - self.begun, 1)}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{self.part}: {name}: " + ", ".join(f"{k} {shown(v)}" for k, v in found.items()), flush=True)

    def attempt(self, name: str, measure: Callable[[], dict]) -> None:
        """The result of `measure()`; where it fails, the error is the result, and the next one is tried."""
        try:
            self.add(name, **measure())
        except Exception as error:  # one failure must not cost the other results of a rare device
            self.failed = True
            last = traceback.format_exc().splitlines()[-12:]
            self.add(name, error=f"{type(error).__name__}: {str(error)[:400]}", traceback=last)


def shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def drawn(folder: Path, classes: int = 3, each: int = 20) -> str:
    """A folder of random pictures of 48 px, one folder a class, which differ in their mean colour; returns its name."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(each):
            pixels = rng.normal(40 + 80 * label, 60, (48, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}/{number:03d}.png")
    return str(folder)


def photos(carry: Path, folder: Path) -> tuple[str, str | None]:
    """The carry folder's photographs to train on and to measure on, unpacked; random pictures where there are none."""
    if not (carry / "photos.tar.gz").is_file():
        return drawn(folder / "drawn"), None
    with tarfile.open(carry / "photos.tar.gz") as file:
        file.extractall(folder, filter="data")
    return str(folder / "train"), str(folder / "val")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every part takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--rows", required=True, type=Path, help="the file to append to")
    parser.add_argument("--carry", type=Path, default=Path("carry"))
    parser.add_argument("--limit", type=float, default=60.0, help="seconds")
    parser.add_argument("--tiny", action="store_true")
    return parser


def about(device: torch.device) -> dict[str, object]:
    """The device and the libraries that the results are of."""
    found: dict[str, object] = {"card": card(device), "torch": torch.__version__, "python": platform.python_version()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"memory_gib": properties.total_memory / 2**30, "cuda": torch.version.cuda}
    return found
