"""What `evaluate` leaves behind: files, a head, and sentences that say which of two models is better here."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from openjepa.config import read_config
from openjepa.console import log
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.evaluation.probes.best_linear import Features, best_linear
from openjepa.evaluation.results import is_fraction
from openjepa.evaluation.session import Bench
from openjepa.interop.classifier import save_classifier
from openjepa.runs.images import check_can_write, check_new_folder
from openjepa.runs.measure_models import CONTEXT, is_run, write_csv, write_records

UNSHAPING = ("seed", "time", "device", "workers", "log_every", "checkpoint_minutes", "keep_every")


@dataclass(frozen=True)
class Outcomes:
    """Where a person wants the records, the table, the page and the head, if anywhere."""

    json: Path | None = None
    csv: Path | None = None
    page: Path | None = None
    head: Path | None = None

    def check(self) -> None:
        """Raise UsageError now, and not after the work, where something cannot be written."""
        for path in filter(None, (self.json, self.csv, self.page)):
            check_can_write(Path(path))
        if self.head:
            check_new_folder(Path(self.head), "give --save-head another name")

    def check_models(self, models: list[Model]) -> None:
        if self.head and not any(isinstance(model, Encoder) for model in models):
            raise UsageError("--save-head needs an encoder: name a run or an artifact")

    def write(self, records: list[dict], verdicts: list[str], benches: list[Bench], names: list[str]) -> None:
        """A run that was measured keeps the records in its folder too."""
        asked = [Path(self.json)] if self.json else []
        for path in asked + [Path(name) / "evaluation.json" for name in names if is_run(name)]:
            write_records(path, records)
        if self.csv:
            write_csv(Path(self.csv), records)
        if self.head:
            keep_head(Path(self.head), benches)


def keep_head(folder: Path, benches: list[Bench]) -> None:
    """Write the linear probe of the last encoder on its last layer, for the first label, as a classifier."""
    encoders = [bench for bench in benches if isinstance(bench.model, Encoder)]
    bench = ([b for b in encoders if not b.model.name.endswith(CONTEXT)] or encoders)[-1]
    label, labels, truth = next(bench.labels())
    train, test = (Features(bench.features(part)[0].last) for part in (bench.train, bench.test))
    choice = best_linear(train, labels, test, bench.seed, bench.device)
    accuracy = float((choice.probe.predictions == truth).double().mean())
    names = [bench.train.dataset.classes[label][number] for number in choice.probe.classes]
    about = {"encoder_of": bench.model.name, "label": label, "test_accuracy": accuracy, **choice.protocol()}
    save_classifier(folder, bench.model, choice.probe.weight, choice.probe.bias, names, about)
    log(f"head of {bench.model.name} ({label}, {accuracy:.1%} on the test images): {folder}")


def seeds_of_recipes(names: list[str]) -> list[list[str]]:
    """Runs among `names` that differ in their seed and nothing else that shapes an encoder, where there are several."""
    recipes: dict[str, dict[int, str]] = {}
    for name in dict.fromkeys(filter(is_run, names)):
        config, resolved = read_config(Path(name) / "config.json")
        told = {key: value for key, value in dataclasses.asdict(config).items() if key not in UNSHAPING}
        recipe = repr([told, *(resolved.get(key) for key in ("steps", "data", "paths"))])
        recipes.setdefault(recipe, {}).setdefault(config.seed, name)
    return [list(runs.values()) for runs in recipes.values() if len(runs) > 1]


def make_verdicts(records: list[dict], names: list[str]) -> list[str]:
    """A sentence for each model of which both encoders were measured, and one where exactly two were named."""
    measured = {record["model"] for record in records}
    both = [comparison(records, name, name + CONTEXT) for name in names if {name, name + CONTEXT} <= measured]
    shown = [name if name in measured else name + CONTEXT for name in names]
    return both + ([comparison(records, *shown)] if len(shown) == 2 else [])


def comparison(records: list[dict], one: str, other: str) -> str:
    """Which of two models is better here, by their paired differences on the same test images."""
    better: dict[str, list[str]] = {one: [], other: [], "": []}
    ours = (record for record in records if record["model"] == one)
    for record in (record for record in ours if not record["task"].startswith("appearance")):  # which is no merit
        paired = record["protocol"]["paired_difference_to"].get(other)
        if paired:
            sign = 1 if is_fraction(record) else -1
            low, high = sorted((sign * paired[1], sign * paired[2]))
            better[one if low > 0 else other if high < 0 else ""].append(record["task"])
    listed = {name: f"in {', '.join(tasks)}" for name, tasks in better.items() if tasks}
    alike = "; not told apart " + listed[""] if "" in listed else ""
    if one in listed and other in listed:
        return f"{one} is better {listed[one]}, {other} {listed[other]}{alike}"
    if not {one, other} & set(listed):
        return f"neither of {one} and {other} is better here{alike or '; they have no task in common'}"
    first, second = (one, other) if one in listed else (other, one)
    return f"{first} is better here than {second}: {listed[first]}{alike}"
