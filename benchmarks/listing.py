"""How long a million files take to list, the first time and again, and the memory that their names need.

python benchmarks/listing.py [FOLDER]     prints a table and writes benchmarks/results/listing.json

FOLDER keeps the empty files, 1,000 in each of 1,000 folders, for the next time; without it they are made and removed.
Each listing is a process of its own; imports are done before its clocks and its memory start. Processor seconds do not
depend on what else the machine does.
"""

import sys
import tempfile
from pathlib import Path

from record import once, record

FOLDERS, FILES = 1000, 1000
ONCE = """
import json, os, resource, sys, time
from openjepa.data.open import open_dataset
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before, begun, worked = resident(), time.perf_counter(), time.process_time()
dataset = open_dataset(sys.argv[1])
seconds, processor = time.perf_counter() - begun, time.process_time() - worked
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"images": len(dataset), "classes": len(dataset.classes["class"]), "seconds": seconds,
                  "processor": processor, "kept": resident() - before, "peak": peak - before}))
"""


def make(root: Path) -> None:
    for folder in (root / f"class{number:04d}" for number in range(FOLDERS)):
        if not folder.is_dir():
            folder.mkdir(parents=True)
            for number in range(FILES):
                (folder / f"IMG_{number:06d}.jpg").touch()


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(cache) / "files"
        make(root)
        found = {"first": once(ONCE, root, cache), "second": once(ONCE, root, cache)}
        (root / "class0007" / "new.jpg").touch()
        found["one file more"] = once(ONCE, root, cache)
        (root / "class0007" / "new.jpg").unlink()
    print("listing        images     seconds   processor   memory kept   at its peak")
    for name, row in found.items():
        kept, peak = row["kept"] / 1e6, row["peak"] / 1e6
        print(
            f"{name:14} {row['images']:9,} {row['seconds']:9.2f} {row['processor']:9.2f} s "
            f"{kept:10.0f} MB {peak:10.0f} MB"
        )
    record("listing", **found)


if __name__ == "__main__":
    main()
