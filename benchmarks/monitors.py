"""What monitors and probes cost, as a fraction of the training between them at the default settings.

python benchmarks/monitors.py     prints the fractions and writes benchmarks/results/monitors.json
"""

import statistics
import time

from plain import PLAIN
from record import record

from openjepa.config import build_config
from openjepa.data.scenes.scenes import Scenes
from openjepa.runs.planning.build import build_run
from openjepa.training.monitoring_intervals import LEAST_IMAGES, MONITOR_IMAGES, PROBE_IMAGES


def median_seconds(call, times: int = 5) -> float:
    spans = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        spans.append(time.perf_counter() - begun)
    return statistics.median(spans)


def main() -> None:
    config = build_config(PLAIN, {"steps": 1000, "workers": 0})
    scenes = Scenes(2000, 0, config.size)
    run = build_run(config, scenes, statistics=([0.5] * 3, [0.25] * 3))
    stepper, batch = run.stepper, run.batches[0]
    image = median_seconds(lambda: stepper(0, batch)) / config.batch_size
    monitor = median_seconds(lambda: run.monitor(stepper.model))
    probe = median_seconds(lambda: run.probe(stepper.model.encoder))
    fractions = {"monitors": monitor / (MONITOR_IMAGES * image), "probes": probe / (PROBE_IMAGES * image)}
    print(f"monitors {monitor:.2f} s every {MONITOR_IMAGES:,} images: {fractions['monitors']:.2%} of training")
    print(f"  in short runs every {LEAST_IMAGES:,}: {monitor / (LEAST_IMAGES * image):.2%}")
    print(f"probes {probe:.2f} s every {PROBE_IMAGES:,} images: {fractions['probes']:.2%} of training")
    record("monitors", model=config.model, **fractions)


if __name__ == "__main__":
    main()
