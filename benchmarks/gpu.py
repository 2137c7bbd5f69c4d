"""Is openjepa right and fast on this GPU, and what does it learn: one command, at most twelve minutes.

sh benchmarks/gpu_carry.sh PHOTOS.zip PARITY carry     a folder with all that the command reads
python benchmarks/gpu.py --carry carry                 correctness (2 min), speed (4 min), learning (6 min)
python benchmarks/gpu.py --device cpu --tiny           the same steps at a tiny size on drawn images, in a minute
python benchmarks/gpu.py --nodes                       what to run on one node of eight GPUs, and what to look at

Each part is a process with a time limit of its own (a rehearsal is one process, without limits) and appends a JSON line
for every result as soon as there is one, so that a part that fails or is cut off leaves what it found:
results/gpu-CARD.jsonl. `lightly` is compared with where it is installed.
"""

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

import torch
from gpu_rows import Rows, card

HERE = Path(__file__).parent
LIMITS = {"correctness": 110, "speed": 240, "learning": 370}  # seconds
GRACE = 20  # seconds after its limit in which a part may still end by itself
NODES = """One node of eight GPUs: run these in turn, DATA being a folder of a million images or more.

  throughput    openjepa bench DATA --recipe paper --batch-size 256, on one GPU
                torchrun --nproc-per-node N -m openjepa pretrain DATA --recipe paper --steps 300 --out runs/N
                for N = 1, 2, 4, 8. Look at images_per_second and input_wait in runs/N/metrics.jsonl. The rate at 8
                over 8 times the rate at 1 is the scaling efficiency. Below .9, an input_wait above .05 says that the
                input is the bottleneck; otherwise it is the network.
  same run      With --precision float32 the losses of runs/1 and runs/8 agree to rounding for the first 20 steps.
  kill, resume  Kill one process with -9 after step 150. torchrun must end or restart; the same command with --resume
                must continue from the last checkpoint, and its losses must follow those of an undisturbed run.
  sharding      --model vit_huge --parallel ddp, then fsdp. The memory of weights and optimizer state on each GPU must
                fall to about an eighth, the losses must agree, and a checkpoint of one must resume under the other.
"""


def run_part(part: str, given: argparse.Namespace, rows: Path, limit: float) -> bool:
    """Run one part; whether it came to its end in time, without an error."""
    words = ["--device", given.device, "--rows", str(rows), "--carry", str(given.carry), "--limit", str(limit)]
    words += ["--tiny"] * given.tiny
    words += ["--settings", *given.settings] if part == "learning" and given.settings else []
    begun = time.monotonic()
    status = rehearsed(part, words) if given.tiny else in_process(part, words, limit + GRACE)
    Rows(rows, part).add("end", status=status, seconds=round(time.monotonic() - begun, 1))
    return status == 0


def rehearsed(part: str, words: list[str]) -> int:
    """The part in this process, which has imported what it needs: its exit status."""
    return int(importlib.import_module(f"gpu_{part}").main(words))


def in_process(part: str, words: list[str], seconds: float) -> int | str:
    """The exit status of the part in a process of its own, or "time limit"."""
    try:
        return subprocess.run([sys.executable, str(HERE / f"gpu_{part}.py"), *words], timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        return "time limit"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--carry", type=Path, default=Path("carry"), help="the folder that gpu_carry.sh made")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal at a tiny size, on drawn images")
    parser.add_argument("--parts", nargs="+", default=list(LIMITS), choices=LIMITS)
    parser.add_argument("--limit", type=float, help="seconds for each part")
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE", help="changes to the recipe `small`")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--nodes", action="store_true", help="print the plan for one node of eight GPUs")
    given = parser.parse_args()
    if given.nodes:
        print(NODES)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    rows = given.out / f"gpu-{card(torch.device(given.device))}{'-tiny' * given.tiny}.jsonl"
    ended = [run_part(part, given, rows, given.limit or LIMITS[part]) for part in given.parts]
    print(f"results: {rows}")
    sys.exit(0 if all(ended) else 1)


if __name__ == "__main__":
    main()
