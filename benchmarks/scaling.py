"""Images a second of one run shared by several processes, data parallel and sharded: gloo on the CPU, NCCL on CUDA.

python benchmarks/scaling.py                        1 and 2 processes on the CPU: results/scaling-cpu.json
python benchmarks/scaling.py --device cuda --processes 1 2 4 8 --model vit_base --image-size 224 --patch-size 16 \
    --batch-size 1024

The global batch is the same for any number of processes. On the CPU the processes share its cores: `--threads` is for
each, and all by default for one process.
"""

import argparse
import os
import socket
import time

import torch
import torch.multiprocessing as processes
from plain import PLAIN
from record import record

from openjepa.config import build_config
from openjepa.data.open import open_dataset
from openjepa.models.vit import SIZES
from openjepa.runs.planning.build import build_batches, build_stepper
from openjepa.training.distributed import joined, on_rank_zero
from openjepa.training.timing import peak_memory, synchronise

WARM_UP, PARALLEL = 2, ("ddp", "fsdp")


def take_part(
    rank: int, count: int, port: int, parallel: str, threads: int, settings: dict, steps: int, results
) -> None:
    meeting = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in meeting.items()} | {"MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(threads)
    with joined(torch.device(settings["device"])):
        config = build_config(PLAIN, settings)
        stepper = build_stepper(config, 10_000, [0.5] * 3, [0.25] * 3, None, parallel)
        batches = build_batches(open_dataset("scenes:512"), config)
        samples = [batches[step] for step in range(2)]
        for step in range(WARM_UP + steps):
            if step == WARM_UP:
                synchronise(stepper.device)
                begun = time.perf_counter()
            stepper(step, samples[step % 2])
        synchronise(stepper.device)
        seconds = (time.perf_counter() - begun) / steps
        on_rank_zero(lambda: results.put((config.batch_size / seconds, peak_memory(stepper.device))))


def measure(count: int, parallel: str, threads: int, settings: dict, steps: int) -> dict:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    results = processes.get_context("spawn").Queue()
    processes.spawn(take_part, (count, port, parallel, threads, settings, steps, results), nprocs=count)
    rate, memory = results.get()
    return {"processes": count, "parallel": parallel, "threads": threads, "images_per_second": rate, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", default="vit_tiny", choices=SIZES)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10)
    given, rows = parser.parse_args(), []
    names = ("model", "image_size", "patch_size", "batch_size", "device")
    settings = {name: getattr(given, name) for name in names} | {"steps": 10_000, "masks_per_image": 1}
    for count in given.processes:
        threads = given.threads or max(1, torch.get_num_threads() // count)
        for parallel in PARALLEL if count > 1 else PARALLEL[:1]:
            rows.append(measure(count, parallel, threads, settings, given.steps))
            line = "{processes} x {threads} threads, {parallel}: {images_per_second:.1f} images/s".format(**rows[-1])
            share = rows[-1]["images_per_second"] / rows[0]["images_per_second"]
            print(f"{line}, {share:.2f} times the first, {rows[-1]['memory'] / 2**30:.2f} GiB on rank 0", flush=True)
    record(f"scaling-{given.device}", settings=settings, rows=rows)


if __name__ == "__main__":
    main()
