"""How soon training on millions of images starts, and the memory that each process that reads them needs for itself.

python benchmarks/large_sets.py [FOLDER]     prints a table and writes results/large_sets.json

Two million files, 1,000 in each of 2,000 folders, and a zip of 500,000 members, all the same JPEG of 8 x 8 px, so that
what is measured is names and indexes. FOLDER keeps them for the next time. The start is from the command to the first
batch, imports included: with nothing kept of earlier times, and again. Memory is what a worker does not share.
"""

import os
import sys
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from record import once, record

FOLDERS, FILES, MEMBERS, LINKS = 2000, 1000, 500_000, 50_000
ONCE = """
import json, re, sys, time
from pathlib import Path
from openjepa.data.batches import Batches, load_batches
from openjepa.data.open import open_dataset
from openjepa.masking.settings import MaskSettings

def own(process):
    found = re.findall(r"Private_\\w+: +(\\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text())
    return sum(map(int, found)) * 1024

begun, worked = time.perf_counter(), time.process_time()
dataset = open_dataset(sys.argv[1])
batches = load_batches(Batches(dataset, MaskSettings((4, 4)), (8, 8), (0.3, 1.0), 64, 0), 0, 100, workers=2)
next(batches)
seconds, processor = time.perf_counter() - begun, time.process_time() - worked
for _ in range(40):
    next(batches)
children = Path("/proc/self/task").glob("*/children")
workers = {int(word) for each in children for word in each.read_text().split()}
print(json.dumps({"images": len(dataset), "seconds": seconds, "processor": processor,
                  "worker_bytes": max(map(own, workers))}))
"""


def picture() -> bytes:
    stream = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(stream, "JPEG")
    return stream.getvalue()


def make_files(root: Path) -> None:
    """Links to a few files, of which a file system allows a limited number for each."""
    content = picture()
    for number in range(FOLDERS):
        folder = root / f"class{number:04d}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            for place in range(FILES):
                file = folder / f"IMG_{place:06d}.jpg"
                if (number * FILES + place) % LINKS == 0:
                    file.write_bytes(content)
                    original = file
                else:
                    os.link(original, file)


def make_zip(path: Path) -> None:
    content = picture()
    if not path.exists():
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(MEMBERS):
                archive.writestr(f"class{number % 1000:04d}/IMG_{number:06d}.jpg", content)


def main() -> None:
    rows = {}
    with tempfile.TemporaryDirectory() as cache:
        root = Path(sys.argv[1] if len(sys.argv) > 1 else cache)
        make_files(root / "files")
        make_zip(root / "members.zip")
        print("| set | images | start, s | processor, s | memory of a worker, MB |\n|---|---|---|---|---|")
        for name in ("files", "members.zip"):
            for again in ("", ", again"):
                rows[name + again] = row = once(ONCE, root / name, f"{cache}/kept")
                cells = f"{row['images']:,} | {row['seconds']:.1f} | {row['processor']:.1f}"
                print(f"| {name}{again} | {cells} | {row['worker_bytes'] / 1e6:.0f} |", flush=True)
    record("large_sets", **rows)


if __name__ == "__main__":
    main()
