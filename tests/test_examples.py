"""What examples/ and docs/scaling.md tell people to type exists."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from openjepa.cli import parse

ROOT = Path(__file__).parents[1]
TORCHRUN = {"--nnodes", "--nproc-per-node", "--max-restarts", "--rdzv-backend", "--rdzv-id", "--rdzv-endpoint"}


@pytest.mark.parametrize("name", ["examples/slurm.sh", "examples/kubernetes.yaml", "docs/scaling.md"])
def test_options_exist(name, capsys):
    parse(["pretrain", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    command = re.compile(r"torchrun.*?(?:\n(?! *[-\\])|\Z)", re.DOTALL)
    found = {
        option for text in command.findall((ROOT / name).read_text()) for option in re.findall(r" (--[a-z-]+)", text)
    }
    assert found and found <= known | TORCHRUN


FAKE = {
    "scontrol": 'if [ "$1" = show ]; then echo node0; else echo "$@" >> scontrol.log; fi',
    "srun": 'trap "echo stopped >> srun.log; exit 130" TERM; echo "$@ $TORCH_ELASTIC_SHUTDOWN_TIMEOUT" >> srun.log\n'
    "while :; do sleep 0.05; done",
}


def test_the_batch_script_stops_its_processes_in_time_and_queues_itself_again(tmp_path):
    """srun and scontrol are stand-ins that write down what they are given."""
    script = ROOT / "examples" / "slurm.sh"
    for name, lines in FAKE.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    places = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "node[0-1]", "SLURM_NNODES": "2"}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").touch()
    command = ["bash", script, "photos", "out", "--steps", "9"]
    job = subprocess.Popen(command, cwd=tmp_path, env=os.environ | places | {"SLURM_JOB_ID": "7"})
    log = tmp_path / "srun.log"
    _wait(lambda: log.exists() and log.read_text())
    job.send_signal(signal.SIGTERM)
    job.wait(20)
    started, stopped = log.read_text().splitlines()
    assert started.endswith("pretrain photos --out out --workers 7 --steps 9 --resume 240")
    assert (stopped, (tmp_path / "scontrol.log").read_text()) == ("stopped", "requeue 7\n")
    warned = int(re.search(r"--signal=B:TERM@(\d+)", script.read_text())[1])
    assert int(started.split()[-1]) <= warned - 60


def _wait(ready):
    until = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < until
        time.sleep(0.02)
