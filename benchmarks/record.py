"""What benchmarks share: results/NAME.json with command and library, the commit, and measuring in a new process."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def record(name: str, **found) -> None:
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    about = {"command": command, "torch": torch.__version__, "threads": torch.get_num_threads()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(about | found, indent=2) + "\n")


def once(code: str, source: str | Path, cache: str) -> dict:
    """What Python code prints as JSON about a source, in a process of its own with a cache folder of its own."""
    environment = os.environ | {"OPENJEPA_CACHE": cache}
    done = subprocess.run([sys.executable, "-c", code, str(source)], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def commit() -> str:
    """The commit of this file, wherever the command was given."""
    return subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS, text=True).strip()
