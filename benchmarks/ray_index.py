"""`openjepa index --engine ray` on a local Ray cluster of two workers, one of which is killed on the way.

python benchmarks/ray_index.py [SCENES]      2,048 drawn scenes by default; a few minutes

Needs `pip install 'openjepa[ray]'`. It ends with exit code 1 unless a worker was killed while it embedded, and the
table equals that of `--engine local` row by row.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from openjepa.indexing.store import BASE, Store

WORKER = b"ray::MapWorker"
HOW = ("--device", "cpu", "--precision", "float32", "--patches", "--workers", "2")


def start(folder: Path, engine: str, scenes: str) -> subprocess.Popen:
    words = ("index", "untrained:vit_tiny_patch8_64", f"scenes:{scenes}:0", "--out", engine, "--engine", engine, *HOW)
    return subprocess.Popen([sys.executable, "-m", "openjepa", *words], cwd=folder)


def working() -> list[int]:
    """Workers of Ray that embed at this moment: Ray names a process after the call that it runs."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b".submit" in (line := place.read_bytes()) and line.startswith(WORKER):
                found.append(int(place.parent.name))
        except OSError:  # it has ended
            continue
    return found


def kill_one(job: subprocess.Popen) -> int | None:
    """The number of a worker that was killed five seconds after both had begun; None where the job ended before."""
    while job.poll() is None:
        if len(found := working()) == 2:
            time.sleep(5)
            os.kill(found[0], signal.SIGKILL)
            return found[0] if job.poll() is None else None
        time.sleep(0.2)
    return None


def rows(folder: Path) -> list[dict]:
    return Store.open(folder).read([*BASE, "vector", "patches"]).sort_by("path").to_pylist()


def main(scenes: str = "2048") -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.perf_counter()
        job = start(folder, "ray", scenes)
        killed, code = kill_one(job), job.wait()
        print(f"ray: exit code {code}, {time.perf_counter() - begun:.0f} s, killed worker {killed}", flush=True)
        begun = time.perf_counter()
        assert start(folder, "local", scenes).wait() == 0
        print(f"local: {time.perf_counter() - begun:.0f} s", flush=True)
        same = code == 0 and rows(folder / "ray") == rows(folder / "local")
        print(f"rows are {'equal' if same else 'NOT equal'}")
        return 0 if same and killed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
