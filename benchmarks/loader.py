"""Images a second of the input alone, beside torchvision's ImageFolder and RandomResizedCrop; every epoch is decoded.

python benchmarks/loader.py imagenette128_all.zip/train        results/loader.json

Needs `pip install torchvision`. The images are unpacked into a temporary folder that both read, with a worker a core.
The two take turns; the ratio is the median over rounds. `--workers 0` counts the processor time of one process instead,
which other programs on the machine disturb less.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torchvision
from PIL import Image
from record import record
from torch.utils.data import DataLoader
from torchvision import transforms

from openjepa.data.batches import Batches, load_batches
from openjepa.data.open import open_dataset
from openjepa.masking.settings import MaskSettings

SCALE, ENDLESS = (0.3, 1.0), 2**31


def unpack(source: str, folder: Path, count: int, enlarge: int) -> None:
    """About `count` images, some of every class, as files; JPEGs `enlarge` times larger if that is over 1."""
    dataset = open_dataset(source)
    for index in range(0, len(dataset), max(1, len(dataset) // count)):
        path = folder / dataset.paths[index]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dataset.read(index))
        if enlarge > 1:
            image = dataset.load(index)
            image.resize([side * enlarge for side in image.size], Image.Resampling.BICUBIC).save(path, "JPEG")


def theirs(folder: Path, size: int, batch_size: int, workers: int) -> Iterator:
    crop = transforms.Compose([transforms.RandomResizedCrop(size, SCALE), transforms.ToTensor()])
    dataset = torchvision.datasets.ImageFolder(str(folder), crop)
    settings = {"batch_size": batch_size, "shuffle": True, "num_workers": workers, "drop_last": True}
    loader = DataLoader(dataset, **settings, persistent_workers=workers > 0)
    while True:
        yield from loader


def ours(folder: Path, size: int, batch_size: int, workers: int) -> Iterator:
    dataset, patch = open_dataset(folder), size // 8
    masks = MaskSettings((size // patch, size // patch))
    return load_batches(Batches(dataset, masks, (size, size), SCALE, batch_size, 0), 0, ENDLESS, workers)


def rate(loader: Iterator, batch_size: int, batches: int, clock) -> float:
    begun = clock()
    for _ in range(batches):
        next(loader)
    return batches * batch_size / (clock() - begun)


def measure(folder: Path, size: int, given: argparse.Namespace) -> dict:
    clock = time.perf_counter if given.workers else time.process_time
    loaders = {f.__name__: f(folder, size, given.batch_size, given.workers) for f in (theirs, ours)}
    rates = {name: [] for name in loaders}
    for turn in range(given.rounds + 1):  # the first only warms up
        for name, loader in loaders.items():
            for _ in range(2 * given.workers * bool(turn)):  # what was prepared while the other had its turn
                next(loader)
            rates[name].append(rate(loader, given.batch_size, given.batches, clock))
    pairs = list(zip(rates["ours"][1:], rates["theirs"][1:], strict=True))
    medians = {name: statistics.median(found[1:]) for name, found in rates.items()}
    return {"size": size, **medians, "times": statistics.median(a / b for a, b in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 96, 128])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--enlarge", type=int, default=1, help="times, to stand for large photos")
    parser.add_argument("--batches", type=int, default=30, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    given, rows = parser.parse_args(), []
    with tempfile.TemporaryDirectory() as home:
        unpack(given.data, Path(home), given.images, given.enlarge)
        for size in given.sizes:
            rows.append(measure(Path(home), size, given))
            print("{size} px: torchvision {theirs:.0f}, openjepa {ours:.0f} images/s, {times:.2f}x".format(**rows[-1]))
    kind = ("" if given.workers else "-processor-time") + (f"-{given.enlarge}x" if given.enlarge > 1 else "")
    about = {"workers": given.workers, "enlarge": given.enlarge, "torchvision": torchvision.__version__}
    record(f"loader{kind}", **about, rows=rows)


if __name__ == "__main__":
    main()
