"""Small runs of the commands that write, each in a process of its own, for the benchmarks that disturb them."""

import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from openjepa import cli
from openjepa.commands import COMMANDS as ALL
from openjepa.indexing.store import BASE, Store, holds_index

FORK = multiprocessing.get_context("fork")
RUN = ["--recipe", "laptop", "--image-size", "16", "--batch-size", "8", "--predictor-depth", "1", "--log-every", "5"]
RUN += ["--precision", "float32", "--workers", "2", "--checkpoint-minutes", "0"]
FAST = ["--workers", "2", "--precision", "float32"]
CACHE = "cache"
PHOTOS = 48
KEEP = ["--json", "OUT/a.json", "--csv", "OUT/a.csv", "--page", "OUT/a.html", "--save-head", "OUT/head"]
KEEP += ["--cache", f"OUT/{CACHE}"]

BOTH = ["--encoder", "both", "--data", "scenes:64"]
HIDDEN = ["--box", "0", "0", "20", "20", "--from", "photos", "--out", "OUT/x.html", "--json", "OUT/x.json"]
HIDDEN += ["--device", "cpu", *FAST]


@dataclass(frozen=True)
class Small:
    """A command: its words, in which OUT is the folder to write to, and patterns of the files that must be equal.

    `index` is the folder of an index, whose rows must be equal; until it has all of them, the command is to be given
    again.
    """

    name: str
    words: list[str]
    equal: tuple[str, ...] = ()
    index: str = ""

    def given(self, out: Path) -> list[str]:
        """The words; a run that has begun is resumed."""
        words = [word.replace("OUT", str(out)) for word in self.words]
        begun = any((out / "run" / name).is_file() for name in ("config.json", "finetuning.json"))
        return words + (["--resume"] if begun else [])

    def content(self, out: Path) -> dict[str, str]:
        """A hash of every file that must be equal, by its name; locks and files being written are hidden."""
        files = sorted(path for pattern in self.equal for path in out.glob(pattern) if path.is_file())
        files = [file for file in files if not file.name.startswith(".")]
        found = {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        if self.index and holds_index(out / self.index):
            with FORK.Pool(1) as pool:  # LanceDB is not forked safely once it was used
                found |= pool.apply(_rows_of, (out / self.index,))
        return found


def _rows_of(folder: Path) -> dict[str, str]:
    """A hash of the rows of an index by its name; {} until it has all of them."""
    rows = sorted(Store.open(folder).read([*BASE, "vector"]).to_pylist(), key=itemgetter("path"))
    return {folder.name: hashlib.sha256(repr(rows).encode()).hexdigest()} if len(rows) == PHOTOS else {}


COMMANDS = [
    Small("pretrain", ["pretrain", "photos", "--out", "OUT/run", "--steps", "25", *RUN], ("run/enc*/*.safetensors",)),
    Small(
        "finetune",
        ["finetune", "run", "photos", "--out", "OUT/run", "--epochs", "1", "--onnx", "--device", "cpu", *FAST],
        ("run/model/*", "run/onnx/*", "run/predictions.csv"),
    ),
    Small("data prepare", ["data", "prepare", "photos", "OUT/small", "--size", "16", "--per-shard", "3"], ("small/*",)),
    Small(
        "evaluate",
        ["evaluate", "run", "photos", *KEEP, *FAST],
        ("a.json", "a.csv", "head/*.safetensors"),
    ),
    Small("embed", ["embed", "run", "photos", "--out", "OUT/v.parquet", *FAST], ("v.parquet",)),
    Small(
        "anomaly fit",
        ["anomaly", "fit", "run", "photos", "--out", "OUT/detector", "--device", "cpu", *FAST],
        ("detector/*",),
    ),
    Small("imagine", ["imagine", "run", "photos/a/000.png", *HIDDEN], ("x.html", "x.json")),
    Small("index", ["index", "run", "photos", "--out", "OUT/index", "--device", "cpu", *FAST], index="index"),
    Small("export", ["export", "run", "--to", "safetensors", "--out", "OUT/export"], ("export/*.safetensors",)),
    Small(
        "export web",
        ["export", "run", "--to", "web", "--gallery", "photos", "--out", "OUT/page"],
        ("page/*.onnx", "page/gallery.*", "page/*.js"),
    ),
    Small(
        "ensemble",
        ["ensemble", "run", "--how", "concat", *BOTH, "--out", "OUT/both", "--device", "cpu", *FAST],
        ("both/*", "both/members/*/*"),
    ),
    Small("import", ["import", "run", "OUT/artifact"], ("artifact/*",)),
]


def draw(folder: Path, count: int = PHOTOS) -> None:
    """Photos in two classes."""
    for i in range(count):
        home = folder / "ab"[i % 2]
        home.mkdir(parents=True, exist_ok=True)
        rough = np.random.default_rng(i).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rough[..., i % 2] //= 4
        Image.fromarray(rough).resize((40, 40), Image.Resampling.BICUBIC).save(home / f"{i:03}.png")


def prepare(home: Path) -> None:
    """In a folder: photos, and a run on them. All commands are imported, so that their processes need not do so."""
    for command in ALL:
        command.load()
    draw(home / "photos")
    ended(start(["pretrain", "photos", "--out", "run", "--steps", "3", *RUN], home), home, "setting up")


def start(words: Sequence[str], home: Path) -> multiprocessing.process.BaseProcess:
    """A command in a forked process, in a session of its own; what it prints goes to home/printed."""
    process = FORK.Process(target=_run, args=(words, home))
    process.start()
    return process


def _run(words: Sequence[str], home: Path) -> None:
    os.setsid()
    os.chdir(home)
    os.environ["OPENJEPA_CACHE"] = str(home / CACHE)
    torch.set_num_threads(1)
    for number in (1, 2):
        os.dup2(os.open(home / "printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC * (number == 1) | os.O_APPEND), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    sys.argv = ["openjepa", *words]
    cli.main()


def printed(home: Path) -> list[str]:
    return (home / "printed").read_text(errors="replace").splitlines()


def ended(process: multiprocessing.process.BaseProcess, home: Path, what: str, seconds: float = 300) -> None:
    """Wait for the end of a command, which must be a good one."""
    process.join(seconds)
    if process.exitcode != 0:
        process.kill()
        raise SystemExit("\n".join([f"{what}: exit code {process.exitcode}", *printed(home)[-20:]]))


def left_of(session: int, seconds: float = 5.0) -> list[str]:
    """The processes of a session that are still there after some seconds."""
    deadline = time.monotonic() + seconds
    while (found := _living(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _living(session: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, name, rest = path.read_text().replace(")", "(").split("(")
        except (OSError, ValueError):
            continue
        state, _, _, its_session, *_ = rest.split()
        if int(its_session) == session and state not in "ZX":
            found.append(f"{path.parent.name} {name}")
    return found
