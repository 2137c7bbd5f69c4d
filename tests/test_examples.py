"""What examples/ and docs/scaling.md tell people to type exists."""

import re
import subprocess
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


def test_the_batch_script_is_shell():
    subprocess.run(["bash", "-n", ROOT / "examples" / "slurm.sh"], check=True)
