"""kill -9 at random moments of the commands that write: the same command given again goes on and ends equal.

    python benchmarks/kills.py --count 100      results/kills.json

After each kill, no process may be left after five seconds, and a file or folder that has its name must be whole. The
command is given again, with --resume for a run, and its files are compared with those of an undisturbed command.
Commands are forked, because a kill is no less deadly and a start costs no imports.
"""

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

from record import record
from small_commands import COMMANDS, Small, ended, left_of, prepare, printed, start

# What a command says whose folder was complete when it was killed.
COMPLETE = "exists and is not empty", "holds an earlier"
FAULTS = ("orphans", "partial", "not restarted", "different", "leftovers")


def undisturbed(small: Small, home: Path) -> tuple[dict[str, str], float]:
    """The content that a command writes, and the seconds that it takes."""
    begun = time.monotonic()
    ended(start(small.given(home / "expected"), home), home, small.name)
    content = small.content(home / "expected")
    shutil.rmtree(home / "expected")
    return content, time.monotonic() - begun


def disturb(small: Small, home: Path, expected: dict[str, str], delay: float) -> list[str]:
    """Kill a command after a delay, and give it again; the faults that were seen."""
    out = home / "out"
    process = start(small.given(out), home)
    process.join(delay)
    process.kill()
    process.join()
    faults = ["orphans"] if left_of(process.pid) else []
    found = small.content(out)
    if any(expected.get(name) != content for name, content in found.items()):
        faults.append("partial")
    process = start(small.given(out), home)
    process.join(300)
    complete = process.exitcode == 2 and found == expected and any(said in printed(home)[-1] for said in COMPLETE)
    if process.exitcode != 0 and not complete:
        print(f"{small.name} after {delay:.2f} s:", *printed(home)[-5:], sep="\n  ", flush=True)
        faults.append("not restarted")
    elif small.content(out) != expected:
        faults.append("different")
    if any(out.rglob(".writing-*")):
        faults.append("leftovers")
    shutil.rmtree(out, ignore_errors=True)
    return faults


def measure(count: int, seed: int, home: Path, commands: list[Small] = COMMANDS) -> list[dict]:
    """`count` kills, divided among the commands; a row for each."""
    dice, rows = random.Random(seed), []
    prepare(home)
    for number, small in enumerate(commands):
        expected, seconds = undisturbed(small, home)
        kills = len(range(number, count, len(commands)))
        seen = [disturb(small, home, expected, dice.uniform(0, seconds)) for _ in range(kills)]
        faults = {fault: sum(fault in each for each in seen) for fault in FAULTS}
        rows.append({"command": small.name, "kills": kills, **faults, "seconds": round(seconds, 1)})
        print(*(f"{name} {value}" for name, value in rows[-1].items()), sep="  ", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", choices=[small.name for small in COMMANDS])
    given = parser.parse_args()
    chosen = [small for small in COMMANDS if not given.commands or small.name in given.commands]
    with tempfile.TemporaryDirectory() as home:
        rows = measure(given.count, given.seed, Path(home), chosen)
    record("kills", seed=given.seed, rows=rows)
    if any(row[fault] for row in rows for fault in FAULTS):
        raise SystemExit("some kills did damage")


if __name__ == "__main__":
    main()
