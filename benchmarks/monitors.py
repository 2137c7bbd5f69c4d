"""What monitors and probes cost, as a fraction of the training between them at the default settings.

python benchmarks/monitors.py                prints the fractions, writes benchmarks/results/monitors.json
    --model vit_base --depth 1 --patch-size 8
                                             a wide encoder, whose rank needs more images, with few blocks and tokens
"""

import argparse
import statistics
import time

from plain import PLAIN
from record import record

from openjepa.config import build_config
from openjepa.data.scenes.scenes import Scenes
from openjepa.models.vit import SIZES
from openjepa.runs.planning.build import build_run
from openjepa.training.monitoring_intervals import monitor_interval, monitored_images, probe_interval

LONG, SHORT = 20_000, 1000  # steps of a run


def median_seconds(call, times: int) -> float:
    """Of processor time, which other work on the machine does not change."""
    spans = []
    for _ in range(times):
        begun = time.process_time()
        call()
        spans.append(time.process_time() - begun)
    return statistics.median(spans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_nano")
    parser.add_argument(
        "--depth", type=int, help="blocks, if not those of the model: training and monitors scale alike"
    )
    parser.add_argument("--patch-size", type=int, default=4)
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    width, depth, heads, ratio = SIZES[args.model]
    SIZES[args.model] = width, args.depth or depth, heads, ratio
    config = build_config(PLAIN | {"model": args.model, "patch_size": args.patch_size}, {"steps": SHORT, "workers": 0})
    run = build_run(config, Scenes(2000, 0, config.size), statistics=([0.5] * 3, [0.25] * 3))
    stepper, batch = run.stepper, run.batches[0]
    stepper(0, batch)
    step = median_seconds(lambda: stepper(0, batch), args.times)
    monitor = median_seconds(lambda: run.monitor(stepper.model), args.times)
    probe = median_seconds(lambda: run.probe(stepper.model.encoder), args.times)
    monitored = monitored_images(width)
    print(f"{args.model}, {SIZES[args.model][1]} blocks, {config.image_size} px, {monitored:,} images monitored")
    print(f"step {step:.3f} s, monitors {monitor:.2f} s, probes {probe:.2f} s of processor time")
    fractions = {}
    for name, steps in (("long", LONG), ("short", SHORT)):
        how = steps, config.batch_size, monitored
        found = {"monitors": monitor / (monitor_interval(*how) * step), "probes": probe / (probe_interval(*how) * step)}
        fractions[name] = found | {"together": sum(found.values())}
        print(
            f"in a run of {steps:,} steps: {', '.join(f'{key} {value:.2%}' for key, value in fractions[name].items())}"
        )
    record("monitors", model=config.model, depth=SIZES[args.model][1], **fractions)


if __name__ == "__main__":
    main()
