"""A full disk under the commands that write: one line, nothing lost, and the same command ends once there is room.

    python benchmarks/full_disk.py --count 30      results/full_disk.json; as root, on Linux

The disk is a small file system in memory. A file leaves a random number of bytes free, from none to what the command
needs. The command must end with exit code 2 and one line, or well where it fits. Files that were there before must be
as they were. Then there is room, and the same command (with --resume for a run) must end as undisturbed.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kills import undisturbed
from record import record
from small_commands import COMMANDS, Small, prepare, printed, start

MIB = 2**20
SIZE = 256 * MIB
FAULTS = ("not one line", "earlier lost", "partial", "not restarted", "different", "leftovers")


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 256 MiB at a folder. Raises OSError where this may not be done."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        raise OSError(done.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def needed(small: Small, home: Path, disk: Path) -> tuple[dict[str, str], int]:
    """The content that a command writes, and the bytes that it takes on the disk."""
    content, _ = undisturbed(small, home)
    out, before = disk / "whole", free(disk)
    process = start(small.given(out), home)
    process.join()
    taken = before - free(disk)
    shutil.rmtree(out)
    return content, max(taken, 4096)


def free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def fill(disk: Path, left: int) -> None:
    """Write a file that leaves so many bytes free."""
    with (disk / "large").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free(disk) - left))


def hashes(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def disturb(small: Small, home: Path, disk: Path, expected: dict[str, str], left: int) -> tuple[bool, list[str]]:
    """Give a command where `left` bytes are free, and again where there is room: whether it fitted, and the faults."""
    out, earlier = disk / "out", disk / "earlier"
    shutil.copytree(home / "run", earlier)
    before, faults = hashes(earlier), []
    fill(disk, left)
    process = start(small.given(out), home)
    process.join(300)
    fitted, lines = process.exitcode == 0, printed(home)
    told = [line for line in lines if line.startswith("openjepa: ")]
    if not fitted and (process.exitcode != 2 or len(told) != 1 or any("Traceback" in line for line in lines)):
        faults.append("not one line")
        print(f"{small.name} with {left:,} bytes: exit code {process.exitcode}", *lines[-8:], sep="\n  ", flush=True)
    faults += ["earlier lost"] if hashes(earlier) != before else []
    found = small.content(out)
    faults += ["partial"] if any(expected.get(name) != content for name, content in found.items()) else []
    (disk / "large").unlink()
    if not fitted:
        process = start(small.given(out), home)
        process.join(300)
    if process.exitcode != 0:
        print(f"{small.name} after {left:,} bytes:", *printed(home)[-5:], sep="\n  ", flush=True)
        faults.append("not restarted")
    elif small.content(out) != expected:
        faults.append("different")
    faults += ["leftovers"] if any(disk.rglob(".writing-*")) else []
    for folder in (out, earlier):
        shutil.rmtree(folder, ignore_errors=True)
    return fitted, faults


def measure(count: int, seed: int, home: Path, commands: list[Small] = COMMANDS) -> list[dict]:
    """`count` levels, divided among the commands; a row for each."""
    dice, rows = random.Random(seed), []
    prepare(home)
    with small_disk(home / "disk") as disk:
        for number, small in enumerate(commands):
            expected, most = needed(small, home, disk)
            levels = [dice.randrange(most) for _ in range(number, count, len(commands))]
            seen = [disturb(small, home, disk, expected, left) for left in levels]
            faults = {fault: sum(fault in each for _, each in seen) for fault in FAULTS}
            fitted = sum(fitted for fitted, _ in seen)
            rows.append({"command": small.name, "levels": len(levels), "fitted": fitted, **faults, "bytes": most})
            print(*(f"{name} {value}" for name, value in rows[-1].items()), sep="  ", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", choices=[small.name for small in COMMANDS])
    given = parser.parse_args()
    chosen = [small for small in COMMANDS if not given.commands or small.name in given.commands]
    with tempfile.TemporaryDirectory() as home:
        rows = measure(given.count, given.seed, Path(home), chosen)
    record("full_disk", seed=given.seed, rows=rows)
    if any(row[fault] for row in rows for fault in FAULTS):
        raise SystemExit("some commands did not hold")


if __name__ == "__main__":
    main()
