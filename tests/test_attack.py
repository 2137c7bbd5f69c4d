"""A sample of benchmarks/attack.py: hostile files and command lines, each in a process that is watched."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "attack.py"


def test_hostile_files_and_options_do_no_harm(tmp_path):
    rows = tmp_path / "rows.json"
    every_fifth = [str(number) for number in range(0, 45, 5)]  # of a round of all classes
    command = [sys.executable, SCRIPT, "--light", "--jobs", "1", "--folder", tmp_path, "--out", rows]
    done = subprocess.run([*command, "--only", *every_fifth], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(rows.read_text())
    assert len(found) == 7 and {row["code"] for row in found} == {0, 2}
