"""Thousands of hostile files and command lines against every command: nothing may crash, hang, grow, leak or be lost.

    python benchmarks/attack.py --count 10000 --out attack.json

Files of every kind that openjepa reads are made from seeds, so that they lie: images, archives, tables, arrays, lists,
weights, artifacts, run folders, studies, annotations; command lines get values that make no sense. Each case runs in a
process of its own that is limited and watched (attack_child.py). A finding is printed with its number: the same seed
and number make the same case, `--only NUMBER` runs it again and `--keep` leaves its files.
"""

import argparse
import contextlib
import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attack_child
import attack_indexes
import attack_models
import attack_others
from attack_child import Guard
from attack_files import Forge
from attack_harmless import BOTH, COMPARED, RUN, make_guard, make_harmless
from attack_others import USUAL, shown

sys.dont_write_bytecode = True  # a module that a case is the first to import would count as written outside
Make = Callable[[Forge], tuple[str, list[str]]]
# Each class of cases with its weight.
CLASSES: dict[str, tuple[Make, int]] = {
    "image": (attack_others.picture, 5),
    "container": (attack_others.container, 8),
    "annotations": (attack_others.annotations, 2),
    "weights": (attack_models.weights_file, 3),
    "folder of weights": (attack_models.folder_of_weights, 4),
    "head": (attack_models.head, 2),
    "detector": (attack_models.detector, 2),
    "fine-tuning": (attack_models.fine_tuning, 1),
    "run": (attack_models.run_folder, 2),
    "begun run": (attack_models.begun_run, 1),
    "study": (attack_models.study, 1),
    "comparison": (attack_models.comparison, 1),
    "foreign": (attack_models.foreign, 2),
    "runs": (attack_models.runs_below, 1),
    "index": (attack_indexes.index, 4),
    "filter": (attack_indexes.condition, 1),
    "options": (attack_others.options, 5),
    "ensemble": (attack_models.ensemble, 2),
}
STUDIES = ("study", "comparison")
HEAVY = (*STUDIES, "foreign", "index", "filter", "ensemble")  # classes that a light selection leaves out
ROUND = [name for name, (_, weight) in CLASSES.items() for _ in range(weight)]
WRONG = ("crashed", "traceback", "hung", "grew", "wrote outside", "changed an input", "read outside", "connected")
ENOUGH = 50
BOX, PAGE = ["--box", "0", "0", "9", "9"], ["--out", "a.html", *USUAL]
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Case:
    """A case by its number, with the class it belongs to."""

    seed: int
    number: int

    @property
    def group(self) -> str:
        return ROUND[self.number % len(ROUND)]

    def maker(self, harmless: Path, guard: Guard) -> Callable[[Path], list[str]]:
        """A function that writes the files and gives the words of the command."""

        def make(folder: Path) -> list[str]:
            forge = Forge((self.seed, self.number), folder, harmless, guard.folder, guard.url)
            kind, words = CLASSES[self.group][0](forge)
            (folder / "case.json").write_text(json.dumps({"kind": kind, "words": words}))
            return words

        return make


def harmless_lines(forge: Forge) -> dict[str, list[str]]:
    """A line for each command, on harmless files, by the command's name: what it costs, and that it works."""
    data, run, weights = str(forge.harmless / "classes"), forge.copy("run"), str(forge.harmless / "weights")
    study = forge.harmless / "study"
    again = json.loads((study / "command.json").read_text()) if study.exists() else []
    return {
        "embed": ["embed", "pixels", data, "--out", "a.parquet", *USUAL],
        "embed model": ["embed", run, data, "--out", "a.parquet", *USUAL],
        "data check": ["data", "check", data, "--workers", "0"],
        "data prepare": ["data", "prepare", data, "small", "--size", "8", "--workers", "0"],
        "evaluate": ["evaluate", run, data, *USUAL, "--csv", "a.csv", "--page", "a.html", "--json", "a.json"],
        "predict": ["predict", str(forge.harmless / "head"), data, "--out", "a.xlsx", *USUAL],
        "finetune": ["finetune", run, data, "--out", "new", "--epochs", "1", "--time", "1s", *USUAL],
        "report": ["report", run],
        "masks": ["masks", "--out", "m.png"],
        "recipes": ["recipes"],
        "bench": ["bench", data, "--seconds", "0.01", *RUN[2:12]],
        "import": ["import", f"{weights}/official/checkpoint.pth.tar", "new", "--num-heads", "4"],
        "import hf": ["import", f"{weights}/hf", "new"],
        "import timm": ["import", f"{weights}/timm", "new"],
        "export": ["export", run, "--to", "hf", "--out", "out"],
        "export timm": ["export", run, "--to", "timm", "--out", "out"],
        "export onnx": ["export", run, "--to", "onnx", "--out", "out"],
        "export web": ["export", run, "--to", "web", "--gallery", data, "--out", "out"],
        "pretrain": ["pretrain", data, "--out", "new", *RUN],
        "embed foreign": ["embed", str(forge.harmless / "foreign/timm"), data, "--out", "v.csv", *USUAL],
        "embed foreign hf": ["embed", str(forge.harmless / "foreign/hf"), data, "--out", "v.csv", *USUAL],
        "anomaly fit": ["anomaly", "fit", run, data, "--out", "new", *USUAL],
        "anomaly score": ["anomaly", "score", str(forge.harmless / "detector"), data, "--out", "a.csv", *USUAL],
        "anomaly evaluate": ["anomaly", "evaluate", str(forge.harmless / "detector"), data, "--normal", "a", *USUAL],
        "imagine": ["imagine", run, f"{data}/a/0.png", *BOX, *PAGE, "--from", data],
        "imagine index": ["imagine", run, f"{data}/a/0.png", *BOX, *PAGE, "--from", forge.copy("index")],
        "runs": ["runs", str(forge.harmless), "--csv", "a.csv", "--json", "a.json"],
        "index": ["index", run, data, "--out", "new", *USUAL],
        "search": ["search", forge.copy("index"), "a/0.png", "--html", "a.html", *USUAL],
        "search box": ["search", forge.copy("index"), "a/0.png", *BOX, *USUAL],
        "search image": ["search", forge.copy("index"), f"{data}/a/0.png", *USUAL],
        "curate duplicates": ["curate", "duplicates", forge.copy("index"), "--out", "a.csv"],
        "curate outliers": ["curate", "outliers", forge.copy("index"), "--out", "a.parquet"],
        "curate clusters": ["curate", "clusters", forge.copy("index"), "--link", "new", "--yes"],
        "ensemble": ["ensemble", run, "--how", "soup", *BOTH, "--out", "new", *USUAL],
        "tune": ["tune", data, "--out", forge.copy("study"), "--resume", *again],
        "compare": ["compare", data, "--out", forge.copy("comparison"), "--resume", *COMPARED],
    }


NAMES = ("embed model", "evaluate", "report", "data check")
LIGHT = len(NAMES)  # of the names, which import all that a light selection needs
NAMES += (
    "embed",
    "data prepare",
    "predict",
    "masks",
    "import",
    "recipes",
    "bench",
    "pretrain",
    "finetune",
    "tune",
    "compare",
)
NAMES += ("anomaly fit", "anomaly score", "anomaly evaluate", "runs", "index", "search", "search box", "search image")
NAMES += ("imagine", "imagine index", "curate duplicates", "curate outliers", "curate clusters")
NAMES += ("embed foreign", "embed foreign hf", "ensemble")
NAMES += ("import hf", "import timm", "export", "export timm", "export onnx", "export web")


def load_commands() -> None:
    """Import the modules of all commands before processes are forked, which then have them."""
    from openjepa.commands import COMMANDS  # after the environment has been set

    for command in COMMANDS:
        command.load()


def warm_up(place: Path, harmless: Path) -> dict[str, float]:
    """Import what the commands import; seconds of each on harmless files. Raises RuntimeError if one fails."""
    make_guard(place / "guard")
    guard, cost = Guard(place / "guard"), {}

    def line(folder: Path, name: str) -> list[str]:
        return harmless_lines(Forge((0,), folder, harmless, guard.folder, guard.url))[name]

    light = not (harmless / "study").exists()
    for again in (True,) if light else (False, True):  # what the first time imports may start programs
        for name in NAMES[:LIGHT] if light else NAMES:
            outcome = attack_child.run(functools.partial(line, name=name), place / "case", guard, 600)
            _import(outcome.modules)
            cost[name] = outcome.seconds
            if again and name != "tune" and (outcome.code or outcome.wrong):  # whose trials left no folders to show
                raise RuntimeError(f"openjepa {name} failed on harmless files: {outcome.wrong}\n{outcome.said}")
    return cost


def _import(modules: list[str]) -> None:
    for name in sorted(modules):
        if not name.startswith(("_pytest", "attack")):
            with contextlib.suppress(Exception):
                __import__(name)


def command_of(words: list[str]) -> str:
    return " ".join(words[: 2 if words[:1] in (["data"], ["anomaly"], ["curate"]) else 1])


@dataclass
class Workplace:
    """Folders of one worker, and what each command costs on harmless files."""

    harmless: Path
    folder: Path
    guard: Guard
    cost: dict[str, float]

    def run(self, case: Case) -> dict[str, Any]:
        """A row of the table of all cases."""
        make = case.maker(self.harmless, self.guard)
        usual = max(self.cost.values()) + (20 if case.group in STUDIES else 0)  # which may train its trials again
        outcome = attack_child.run(make, self.folder / "case", self.guard, usual)
        about: dict[str, Any] = {"kind": "?", "words": []}
        with contextlib.suppress(OSError, ValueError):
            about = json.loads((self.folder / "case/case.json").read_text())
        # A list of paths is made to name files anywhere.
        allowed = "read outside" if about["kind"] == "list" else "nothing"
        outcome.wrong[:] = [fault for fault in outcome.wrong if not fault.startswith(allowed)]
        row = {"number": case.number, "class": case.group, "kind": about["kind"], "words": about["words"]}
        row |= {"command": command_of(about["words"]), "code": outcome.code, "seconds": round(outcome.seconds, 2)}
        return row | {"memory": outcome.memory, "wrong": outcome.wrong, "said": outcome.said.strip()[:1000]}


def work(
    number: int, cost: dict[str, float], given: argparse.Namespace, place: Path, harmless: Path, pipe: Any
) -> None:
    """Run every `jobs`-th case and send its row."""
    try:
        folder, jobs = place / f"worker{number}", given.jobs
        make_guard(folder / "guard")
        workplace = Workplace(harmless, folder, Guard(folder / "guard"), cost)
        for case in list(cases(given))[number::jobs]:
            row = workplace.run(case)
            if row["wrong"] and given.keep:
                to = given.keep / f"{given.seed}-{case.number}"
                shutil.rmtree(to, ignore_errors=True)
                shutil.copytree(workplace.folder / "case", to, symlinks=True, copy_function=_copy)
            pipe.send(row)
    except Exception as error:
        pipe.send(error)
    pipe.send(None)


def _copy(source: str, to: str) -> None:
    if os.path.isfile(source) or os.path.islink(source):
        shutil.copyfile(source, to, follow_symlinks=False)


def cases(given: argparse.Namespace) -> Iterator[Case]:
    numbers = [int(each) for each in given.only if each.isdecimal()]
    names = [each for each in given.only if not each.isdecimal()]
    for number in numbers or range(given.start, given.start + given.count):
        case = Case(given.seed, number)
        if (not names or case.group in names) and not (given.light and case.group in HEAVY):
            yield case


def run_all(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The row of every case as it is done. Raises what a worker raised."""
    place = Path(tempfile.mkdtemp(prefix="attack-", dir=given.folder))
    for name in ("home", "home/tmp"):
        (place / name).mkdir()
    os.environ.update(HOME=str(place / "home"), XDG_CACHE_HOME=str(place / "home"), HF_HOME=str(place / "home"))
    os.environ.update(TORCHINDUCTOR_CACHE_DIR=str(place / "home"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        load_commands()
        harmless = given.harmless or place / "harmless"
        if not harmless.exists():
            make_harmless(harmless, given.light)
        cost, pipes = warm_up(place, harmless), []
        for number in range(given.jobs):
            here, there = FORK.Pipe(duplex=False)
            FORK.Process(target=work, args=(number, cost, given, place, harmless, there)).start()
            there.close()
            pipes.append(here)
        while pipes:
            for pipe in multiprocessing.connection.wait(pipes):
                row = pipe.recv()
                if isinstance(row, Exception):
                    raise row
                if row is None:
                    pipes.remove(pipe)
                else:
                    yield row
    finally:
        shutil.rmtree(place, ignore_errors=True)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help=f"numbers of cases, or classes: {', '.join(CLASSES)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--light", action="store_true", help="without studies, indexes, transformers, timm and ONNX")
    parser.add_argument("--harmless", type=Path, help="folder of harmless inputs; made if it is not there, and kept")
    parser.add_argument("--out", type=Path, help="file to list every case and what came of it (JSON)")
    parser.add_argument("--keep", type=Path, help="folder to keep the files of cases that went wrong")
    parser.add_argument("--folder", type=Path, help="folder to work in; left out, the system's for temporary files")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    given = parse(words)
    warnings.filterwarnings("ignore", "lancedb fork support")  # of the children only one thread runs
    blocked = attack_child.no_network()
    print("the network is", "blocked" if blocked else "not blocked (that needs root): only proxies count connections")
    begun, rows = time.monotonic(), []
    for row in run_all(given):
        rows.append(row)
        if row["wrong"]:
            print(
                f"{row['number']} {row['kind']}: openjepa {shown(row['words'])}\n    " + "\n    ".join(row["wrong"]),
                flush=True,
            )
        if len(rows) % 500 == 0:
            print(f"{len(rows):,} cases in {time.monotonic() - begun:.0f} s", flush=True)
    print(table(rows))
    if empty := refused_alone(rows):
        print(f"no case was read, so that nothing was tried: {', '.join(empty)}")
    print(f"{time.monotonic() - begun:.0f} s")
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(bool(empty) or any(row["wrong"] for row in rows))


def refused_alone(rows: list[dict[str, Any]]) -> list[str]:
    """Classes with `ENOUGH` cases and more of which every one was refused: perhaps for a fault of the case itself."""
    tried, read = Counter(row["class"] for row in rows), {row["class"] for row in rows if row["code"] == 0}
    return [name for name, count in tried.items() if count >= ENOUGH and name not in read]


def table(rows: list[dict[str, Any]]) -> str:
    """What came of the cases by class, in Markdown."""
    head = ["class", "tried", "read", "refused", *WRONG, "other", "s, most", "MiB, most"]
    lines = [head, ["---"] * len(head)]
    for name in (*CLASSES, "all"):
        mine = [row for row in rows if name in (row["class"], "all")]
        if mine:
            lines.append([name, *counts(mine)])
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def counts(rows: list[dict[str, Any]]) -> list[Any]:
    kinds = Counter(kind for row in rows for kind in {finding.split(":")[0] for finding in row["wrong"]})
    right = [row for row in rows if not row["wrong"]]
    read = sum(row["code"] == 0 for row in right)
    other = sum(count for kind, count in kinds.items() if kind not in WRONG)
    worst = max(row["seconds"] for row in rows), round(max(row["memory"] for row in rows) / 2**20)
    return [len(rows), read, len(right) - read, *(kinds[kind] for kind in WRONG), other, *worst]


if __name__ == "__main__":
    sys.exit(main())
