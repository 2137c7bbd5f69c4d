"""What the label-free score is worth: the runs of a study with labels, as the file by which `tune` trusts the score.

openjepa tune CIFAR.zip/train --out runs/label-free --budget 2h            a study with labels
python benchmarks/label_free.py runs/label-free [MORE ...] [--write]       prints rank correlations, writes the file

Of each study the first rung counts: runs of one length with one setting changed, and the recipe's seeds.
"""

import argparse
import json
from pathlib import Path

from openjepa.config import option, shown
from openjepa.studies.tune.label_free_score import STUDY, agreement, rank_correlation
from openjepa.studies.tune.study import read_trials

PARTS = ("rank", "positional_fraction", "energy_gap")


def runs_of(folder: Path) -> list[dict]:
    """The first rung of a study: what the score is made of, the score, and the accuracy."""
    about = json.loads((folder / "tune.json").read_text())
    group = f"{Path(about['request']['data']).name}, {about['plan']['images'][0]:,} images a run"
    return [
        {
            "group": group,
            "setting": record["candidate"],
            "monitors": {name: record["monitors"][name] for name in PARTS},
            "untrained": {name: record["untrained"][name] for name in PARTS},
            "score": record["score"],
            "linear": record["linear"],
        }
        for record in read_trials(folder)
        if record["rung"] == 1 and "linear" in record
    ]


def command_of(folder: Path) -> str:
    """The command of a study, wherever its folder was."""
    asked = json.loads((folder / "tune.json").read_text())["request"]
    settings = [f"{option(name)} {shown(value)}" for name, value in sorted(asked["given"].items())]
    words = ["openjepa tune", asked["data"], "--out", folder.name, "--budget", asked["budget"]]
    return " ".join([*words, "--recipe", asked["recipe"], *settings])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, help="folders that openjepa tune wrote, with labels")
    parser.add_argument("--write", action="store_true", help=f"write {STUDY.name} in the package")
    given = parser.parse_args()
    runs = [run for folder in given.studies for run in runs_of(folder)]
    linear = [run["linear"] for run in runs]
    print(f"{len(runs)} runs, linear {min(linear):.3f} to {max(linear):.3f}")
    print(f"score            {agreement(runs):+.2f} rank correlation with linear accuracy, within studies")
    for name in PARTS:
        print(f"{name:<17}{rank_correlation([run['monitors'][name] for run in runs], linear):+.2f}")
    if given.write:
        commands = [command_of(folder) for folder in given.studies]
        command = f"python benchmarks/label_free.py {' '.join(folder.name for folder in given.studies)} --write"
        STUDY.write_text(json.dumps({"command": command, "studies": commands, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
