"""Do the alarms tell broken runs from healthy ones, in time and by the right name? Runs that are broken on purpose.

python benchmarks/alarms.py CIFAR.zip/train [NAME [STEPS]]     one case or all; writes results/alarms-NAME.json
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from openjepa.core.ijepa import IJEPA
from openjepa.core.vit import take
from openjepa.training.runlog import read_metrics
from openjepa.verbs import networks
from openjepa.verbs.pretrain import pretrain

RESULTS = Path(__file__).parent / "results"
MONITORS = ("step", "loss", "rank", "std", "positional_share", "energy_gap", "ema_distance", "knn", "linear", "status")
PURE = {"recipe": "laptop", "workers": 0}
CASES = {
    "healthy": PURE,
    "positional": PURE | {"weight_init": "published", "optimizer": "adamw", "masks": "multiblock"},
    "no-stop-gradient": PURE | {"ema_momentum": (0.0, 0.0)},
    "lr-x30": PURE | {"lr": 0.03},
}


class NoStopGradient(IJEPA):
    """What must never be done: the targets learn to be easy to predict."""

    def targets(self, images, target_ids):
        tokens = self.context_encoder(images)
        return take(F.layer_norm(tokens, tokens.shape[-1:]), target_ids)


def run(data: str, name: str, steps: int) -> None:
    networks.IJEPA = NoStopGradient if name == "no-stop-gradient" else IJEPA
    with tempfile.TemporaryDirectory() as folder:
        pretrain(data, out=Path(folder) / name, steps=steps, **CASES[name])
        records = [record for record in read_metrics(Path(folder) / name) if "status" in record]
    kept = [{key: record[key] for key in MONITORS if key in record} for record in records]
    about = {"command": f"python benchmarks/alarms.py {data} {name}", "steps": steps, "settings": CASES[name]}
    (RESULTS / f"alarms-{name}.json").write_text(json.dumps({**about, "records": kept}, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in sys.argv[2:3] or CASES:
        run(sys.argv[1], case, int(sys.argv[3]) if len(sys.argv) > 3 else 800)
