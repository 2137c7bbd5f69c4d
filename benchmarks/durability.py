"""kill -9 at random moments, checkpoint writes included: every restart goes on, and the run ends as if undisturbed.

python benchmarks/durability.py       30 kills of a run of one process and 30 of a run of two: results/durability.json

Every step writes a checkpoint. Half of the kills wait for one that is being written; the others come at any time from
the start of the processes to the end of the run. The processes are forked, because a kill is no less deadly
and a start costs no imports. Of two processes one is killed, or both; the other is ended as torchrun would.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from plain import PLAIN
from record import record

from openjepa.config import build_config
from openjepa.errors import UsageError
from openjepa.runs.resuming.resume import resume_run
from openjepa.runs.start import start_run
from openjepa.training.checkpoint import checkpoint_steps, load_newest
from openjepa.training.distributed import joined

FORK = multiprocessing.get_context("fork")
SETTINGS = {"steps": 40, "image_size": 16, "batch_size": 6, "predictor_depth": 1, "precision": "float32", "workers": 0}
SETTINGS |= {"checkpoint_minutes": 0.0, "log_every": 1}


def draw(folder: Path) -> Path:
    folder.mkdir()
    for i in range(24):
        rough = np.random.default_rng(i).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((20, 20), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def take_part(rank: int, count: int, port: int, photos: Path, out: Path, resume: bool) -> None:
    torch.set_num_threads(1)
    if count > 1:
        meeting = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in meeting.items()} | {"MASTER_ADDR": "127.0.0.1"}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        config = build_config(PLAIN, SETTINGS)
        with contextlib.suppress(UsageError), joined(torch.device("cpu")):  # it says that the other was killed
            (resume_run if resume else start_run)(str(photos), out, config, {}).run.train(lambda record: None)
            return
        sys.exit(2)


def launch(count: int, photos: Path, out: Path) -> list:
    resume = (out / "config.json").is_file()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    ranks = [FORK.Process(target=take_part, args=(rank, count, port, photos, out, resume)) for rank in range(count)]
    for process in ranks:
        process.start()
    return ranks


def finish(ranks: list) -> bool:
    """Wait for all; whether all ended well."""
    for process in ranks:
        process.join()
    return all(process.exitcode == 0 for process in ranks)


def kill(ranks: list, dice: random.Random) -> None:
    """SIGKILL for one or all, and then for those that are left."""
    for process in dice.choice([ranks, [dice.choice(ranks)]]):
        process.kill()
    time.sleep(0.2)
    for process in ranks:
        process.kill()
        process.join()


def wait_for_the_moment(ranks: list, checkpoints: Path, span: float, dice: random.Random) -> None:
    """A random time within `span` seconds, or the writing of a checkpoint of a random step to come."""
    deadline, aimed, steps = time.monotonic() + dice.uniform(0, span), dice.random() < 0.5, dice.randint(1, 12)
    last, seen = None, 0
    while all(process.is_alive() for process in ranks) and (aimed or time.monotonic() < deadline):
        writing = next((path.name for path in checkpoints.glob(".writing*")), last)
        seen, last = seen + (writing != last), writing
        if aimed and seen == steps:
            break
        time.sleep(0.001)
    if aimed:
        time.sleep(dice.uniform(0, 0.01))


def disturb(
    count: int, kills: int, photos: Path, folder: Path, expected: dict, span: float, dice: random.Random
) -> dict:
    """Runs that are killed within `span` seconds of every start until there were `kills`; the last is left to end."""
    found = {"kills": 0, "in a checkpoint": 0, "before the first": 0, "runs": 0, "largest difference": 0.0}
    out = folder / "disturbed"
    while True:
        ranks = launch(count, photos, out)
        if found["kills"] < kills:
            wait_for_the_moment(ranks, out / "checkpoints", span, dice)
        if found["kills"] < kills and any(process.is_alive() for process in ranks):
            kill(ranks, dice)
            found["kills"] += 1
            found["in a checkpoint"] += any((out / "checkpoints").glob(".writing*"))
            found["before the first"] += not checkpoint_steps(out / "checkpoints")
            continue
        if not finish(ranks):
            raise SystemExit(f"a restart of {count} processes did not go on")
        found["runs"] += 1
        found["largest difference"] = max(found["largest difference"], difference(out, expected))
        shutil.rmtree(out)
        if found["kills"] == kills:
            return found


def difference(out: Path, expected: dict) -> float:
    tensors = load_newest(out / "checkpoints")[0]
    if tensors.keys() != expected.keys():
        raise SystemExit("the disturbed run has other tensors")
    return max(float((tensors[name] - value).abs().max()) for name, value in expected.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    given, rows = parser.parse_args(), []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        photos = draw(folder / "photos")
        for count in given.processes:
            undisturbed = folder / f"undisturbed-{count}"
            begun = time.monotonic()
            if not finish(launch(count, photos, undisturbed)):
                raise SystemExit(f"{count} processes do not train here")
            span = time.monotonic() - begun
            expected = load_newest(undisturbed / "checkpoints")[0]
            dice = random.Random(given.seed + count)
            rows.append({"processes": count, **disturb(count, given.kills, photos, folder, expected, span, dice)})
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    record("durability", settings=SETTINGS, rows=rows)


if __name__ == "__main__":
    main()
