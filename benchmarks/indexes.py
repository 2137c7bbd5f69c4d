"""How fast an index is made, brought up to date and searched, and whether it survives kill -9.

    python benchmarks/indexes.py --images 20000 --kills 20      results/indexes.json

Drawn scenes are written as JPEG files. The encoder's own rate is that of its forward pass on crops in memory, with one
thread. Queries are timed on random clustered vectors in a table as `openjepa index` writes it; those for regions of 3x3
patches on random patch tokens, 8x8 of 128 numbers.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from record import record

from openjepa._version import __version__
from openjepa.data.open import open_dataset
from openjepa.device import choose_device
from openjepa.indexing.index import Index, open_index
from openjepa.indexing.patch_tokens import PATCHES, PatchGrid, as_column
from openjepa.indexing.store import BASE, LAYOUT, About, Store
from openjepa.interop.open_model import open_model

MODEL = "untrained:vit_nano_patch8_64"
GRID = PatchGrid(rows=8, columns=8, width=128, image_size=(64, 64), max_stretch=None, zoom=1.0)


def draw(folder: Path, count: int, seed: int = 0) -> None:
    scenes = open_dataset(f"scenes:{count}:{seed}")
    for number in range(count):
        place = folder / f"{number // 1000:03}"
        place.mkdir(parents=True, exist_ok=True)
        scenes.load(number).save(place / f"{seed}-{number:06}.jpg", quality=90)


def command(photos: Path, out: Path) -> list[str]:
    words = [sys.executable, "-m", "openjepa", "index", MODEL, str(photos), "--out", str(out), "--workers", "1"]
    return [*words, "--device", "cpu", "--precision", "float32"]


def timed(photos: Path, out: Path) -> tuple[float, int]:
    """Seconds of a command in a process of its own, and its largest memory in bytes."""
    begun = time.monotonic()
    process = subprocess.Popen(command(photos, out), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.monotonic() - begun, usage.ru_maxrss * 1024


def encoder_rate(images: int = 2048) -> float:
    """Images a second of the forward pass alone."""
    model = open_model(MODEL, choose_device("cpu"), torch.float32)
    crops = torch.randint(0, 256, (256, 3, 64, 64), dtype=torch.uint8)
    model.features(crops)
    begun = time.monotonic()
    for _ in range(images // 256):
        model.features(crops)
    return images / (time.monotonic() - begun)


def rows(folder: Path) -> list[dict]:
    store = Store.open(folder)
    return sorted(store.read([*BASE, "vector", *store.labels]).to_pylist(), key=lambda row: row["path"])


def kills(photos: Path, whole: Path, seconds: float, count: int, dice: random.Random) -> dict[str, int]:
    """Kill a command at random moments, give it again, and compare."""
    expected, different, after = rows(whole), 0, []
    out = whole.with_name("killed")
    for _ in range(count):
        shutil.rmtree(out, ignore_errors=True)
        process = subprocess.Popen(command(photos, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0, seconds))
        process.kill()
        process.wait()
        after.append(len(rows(out)) if (out / "images.lance" / "_versions").is_dir() else 0)
        timed(photos, out)
        different += rows(out) != expected
    return {"kills": count, "different": different, "kept_least": min(after), "kept_most": max(after)}


def making(images: int, killed: int, home: Path) -> dict:
    draw(home / "photos", images)
    rate = encoder_rate()
    start, _ = timed(draw_few(home), home / "few")
    seconds, memory = timed(home / "photos", home / "index")
    again, _ = timed(home / "photos", home / "index")
    draw(home / "photos", images // 100, seed=1)
    more, _ = timed(home / "photos", home / "index")
    found = {
        "images": images,
        "encoder_images_per_second": round(rate),
        "index_images_per_second": round(images / (seconds - start)),
        "seconds": round(seconds, 1),
        "seconds_of_a_start": round(start, 1),
        "seconds_again": round(again, 1),
        "seconds_with_one_percent_more": round(more, 1),
        "memory_mib": memory >> 20,
        "index_mib": sum(path.stat().st_size for path in (home / "index").rglob("*") if path.is_file()) >> 20,
    }
    print(found, flush=True)
    if killed:
        few = home / "some"
        draw(few, min(images, 3000))
        lasts, _ = timed(few, home / "whole")
        found |= kills(few, home / "whole", lasts, killed, random.Random(0))
        print(found, flush=True)
    return found


def region_queries(count: int, home: Path, asked: int = 100) -> dict:
    """Milliseconds of queries for a box of 3x3 patches of a stored image, and of the first, which reads the tokens."""
    dice, index = filled(count, 192, home, GRID)
    taken = []
    for number in dice.integers(count, size=asked + 1):
        begun = time.perf_counter()
        index.search(f"{number:07}.jpg", box=(0, 0, 37.5, 37.5))
        taken.append(1000 * (time.perf_counter() - begun))
    found = {"images": count, "first_ms": round(taken[0])}
    found |= {f"p{part}_ms": round(float(np.quantile(taken[1:], part / 100)), 1) for part in (50, 99)}
    print(found, flush=True)
    return found


def draw_few(home: Path) -> Path:
    draw(home / "few-photos", 20)
    return home / "few-photos"


def filled(count: int, width: int, home: Path, grid: PatchGrid | None = None) -> tuple[np.random.Generator, Index]:
    """An index of random clustered vectors and, for a grid, random patch tokens; and the generator of these."""
    dice = np.random.default_rng(0)
    about = About(
        layout=LAYOUT, version=__version__, model="pixels", step=None, pooling="auto", model_hash="0" * 64,
        dimensions=width, image_size=(64, 64), max_stretch=None, source="random",
    )  # fmt: skip
    home.mkdir(parents=True)
    store, centres = Store.create(home, about, {}, grid), dice.normal(size=(200, width))
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        vectors = centres[dice.integers(200, size=size)] + 0.7 * dice.normal(size=(size, width))
        columns: dict = {name: pa.nulls(size, kind) for name, kind in BASE.items()}
        columns["path"] = [f"{number:07}.jpg" for number in range(start, start + size)]
        columns["width"] = dice.integers(100, 2000, size=size).astype(np.int32)
        if grid:
            tokens = dice.integers(-127, 128, (size, grid.rows * grid.columns, grid.width), np.int8)
            columns[PATCHES] = as_column(torch.from_numpy(tokens))
            columns["width"] = columns["height"] = np.full(size, 100, np.int32)
        flat = pa.array(vectors.astype(np.float16).ravel())
        store.add(pa.table(columns | {"vector": pa.FixedSizeListArray.from_arrays(flat, width)}))
    store.tidy()
    return dice, open_index(home)


def queries(count: int, width: int, home: Path, asked: int = 300) -> dict:
    """Milliseconds of whole-image queries by a stored image, without and with a condition."""
    dice, index = filled(count, width, home)
    index.search("0000000.jpg")
    taken: dict[str, list[float]] = {"plain": [], "where": []}
    for kind, where in (("plain", None), ("where", "width > 1000")):
        for number in dice.integers(count, size=asked):
            begun = time.perf_counter()
            index.search(f"{number:07}.jpg", where=where)
            taken[kind].append(1000 * (time.perf_counter() - begun))
    found: dict = {"vectors": count, "width": width}
    for kind, values in taken.items():
        found |= {
            f"{kind}_p50_ms": round(np.quantile(values, 0.5), 1),
            f"{kind}_p99_ms": round(np.quantile(values, 0.99), 1),
        }
    print(found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="0: none are indexed")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--regions", type=int, default=10_000, help="images that are searched for regions")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        made = making(given.images, given.kills, Path(home)) if given.images else {}
        asked = queries(given.vectors, given.width, Path(home) / "queries") if given.vectors else {}
        parts = region_queries(given.regions, Path(home) / "regions") if given.regions else {}
    record("indexes", making=made, queries=asked, regions=parts)


if __name__ == "__main__":
    main()
