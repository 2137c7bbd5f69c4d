"""Every command as a user without a home folder, with a home that cannot be written to, and in an old locale.

    python benchmarks/users.py      results/users.json; as root, on Linux

The user has a number that no account has. Each command must work, or say in one line what to set. Of `tune`, whose
shortest study takes many minutes, only the plan is made: it says that the time given is too short.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from record import record
from small_commands import draw

USER = 54321
TINY = ["--image-size", "16", "--batch-size", "8", "--predictor-depth", "1", "--workers", "0", "--precision", "float32"]
COMPARED = ["--methods", "vicreg", "--budget", "images:8", "--seeds", "1", *TINY[:4], *TINY[6:]]
HIDDEN = ["--box", "10", "10", "25", "25", "--from", "photos"]
WORDS = {
    "demo": ["demo", "--data", "photos", "--out", "demo", "--steps", "2", *TINY],
    "pretrain": ["pretrain", "photos", "--out", "run", "--steps", "2", *TINY],
    "tune": ["tune", "photos", "--out", "study", "--budget", "1s", *TINY],
    "compare": ["compare", "photos", "--out", "compared", *COMPARED],
    "ensemble": ["ensemble", "run", "--encoder", "both", "--how", "concat", "--data", "scenes:64", "--out", "both"],
    "runs": ["runs", ".", "--csv", "runs.csv", "--xlsx", "runs.xlsx"],
    "evaluate": ["evaluate", "run", "photos", "--page", "page.html", "--save-head", "head", "--workers", "0"],
    "finetune": ["finetune", "run", "photos", "--out", "tuned", "--epochs", "1", "--onnx", "--workers", "0"],
    "report": ["report", "run"],
    "embed": ["embed", "run", "photos", "--out", "vectors.parquet", "--workers", "0"],
    "index": ["index", "run", "photos", "--out", "photos.index", "--workers", "0"],
    "search": ["search", "photos.index", "a/000.png", "--html", "found.html", "--xlsx", "found.xlsx"],
    "curate duplicates": ["curate", "duplicates", "photos.index", "--out", "copies.csv"],
    "curate outliers": ["curate", "outliers", "photos.index", "--out", "odd.parquet"],
    "curate clusters": ["curate", "clusters", "photos.index", "--link", "clusters", "--yes"],
    "explore": ["explore", "photos.index"],
    "serve": ["serve", "photos.index", "--port", "0"],
    "curate sample": ["curate", "sample", "photos.index", "--n", "4", "--out", "sample.xlsx"],
    "curate labels": ["curate", "labels", "photos.index", "labels.csv", "--out", "spread.csv"],
    "predict": ["predict", "head", "photos", "--out", "classes.csv", "--workers", "0"],
    "import": ["import", "run", "artifact"],
    "export": ["export", "run", "--to", "hf", "--out", "export"],
    "anomaly fit": ["anomaly", "fit", "run", "photos", "--out", "detector", "--workers", "0"],
    "anomaly score": ["anomaly", "score", "detector", "photos", "--out", "scores.xlsx", "--workers", "0"],
    "anomaly evaluate": ["anomaly", "evaluate", "detector", "photos", "--normal", "a", "--workers", "0"],
    "imagine": ["imagine", "run", "photos/a/000.png", *HIDDEN, "--out", "x.html", "--xlsx", "x.xlsx", "--workers", "0"],
    "recipes": ["recipes"],
    "masks": ["masks", "--out", "masks.png"],
    "bench": ["bench", "photos", "--seconds", "0.2", *TINY],
    "doctor": ["doctor"],
    "data check": ["data", "check", "photos", "--out", "check.html", "--workers", "2"],
    "data prepare": ["data", "prepare", "photos", "small", "--size", "16", "--workers", "2"],
}


def without_home(home: Path) -> dict[str, str]:
    return {}


def read_only_home(home: Path) -> dict[str, str]:
    home.chmod(0o555)
    return {"HOME": str(home)}


def old_locale(home: Path) -> dict[str, str]:
    """ASCII for file names and output, and no home."""
    return {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}


UNTIL_CTRL_C = ("explore", "serve")
INTERRUPTED = 130
CASES: list[Callable[[Path], dict[str, str]]] = [without_home, read_only_home, old_locale]


def as_user(words: list[str], folder: Path, variables: dict[str, str]) -> tuple[int, str, str]:
    """The exit code and output of a command as the user, who may read every file, so that Python can be anywhere."""
    may_read = ["--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search"]
    user = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", *may_read]
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
    command = [*user, sys.executable, "-m", "openjepa", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, env=kept | variables, stdout=pipe, stderr=pipe, text=True, errors="replace"
    ) as process:
        said = ""
        if words[0] in UNTIL_CTRL_C:
            said = process.stdout.readline()
            process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    code = 0 if words[0] in UNTIL_CTRL_C and said and process.returncode == INTERRUPTED else process.returncode
    return code, said + out, err


def outcome(code: int, out: str, err: str) -> str:
    """ "works", what to set in one line, or what went wrong."""
    if code == 2 and err.count("\n") == 1 and "--budget" in err:
        return "works, as far as the plan"
    if code == 0:
        return "works" if "Traceback" not in err else f"works, with {err.splitlines()[-1]}"
    told = err.count("\n") == 1 and err.startswith("openjepa: ")
    return f"says: {err.strip()}" if told and "OPENJEPA_CACHE" in err else f"fails ({code}): {err.strip()[-400:]}"


def measure(folder: Path, cases: list[Callable[[Path], dict[str, str]]], commands: list[str]) -> list[dict]:
    """Every command in every case, in a folder of its own; where it says what to set, it is given again so."""
    rows = []
    for case in cases:
        place, home = folder / case.__name__, folder / f"{case.__name__}-home"
        for made in (place, home):
            made.mkdir()
            made.chmod(0o777)
        draw(place / "photos")
        (place / "labels.csv").write_text("path,kind\na/000.png,a\na/002.png,a\nb/001.png,b\nb/003.png,b\n")
        os.chmod(folder, 0o755)
        variables = case(home)
        for name in commands:
            found = outcome(*as_user(WORDS[name], place, variables))
            if found.startswith("says"):
                cache = {"OPENJEPA_CACHE": str(place / "cache")}
                found += f" | then {outcome(*as_user(WORDS[name], place, variables | cache))}"
            rows.append({"case": case.__name__.replace("_", " "), "command": name, "outcome": found})
            print(*rows[-1].values(), sep=" · ", flush=True)
        stray = sorted(path.name for path in place.iterdir() if path.name == "~") + os.listdir(home)
        if stray:
            rows.append({"case": case.__name__, "command": "all", "outcome": f"fails: wrote {', '.join(stray)}"})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", nargs="+", choices=list(WORDS), default=list(WORDS))
    parser.add_argument("--cases", nargs="+", choices=[case.__name__ for case in CASES])
    given = parser.parse_args()
    cases = [case for case in CASES if not given.cases or case.__name__ in given.cases]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows = measure(folder, cases, given.commands)
    record("users", rows=rows)
    if any("fails" in row["outcome"] for row in rows):
        raise SystemExit("some commands failed")


if __name__ == "__main__":
    main()
