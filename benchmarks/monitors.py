"""What monitors and probes cost, as a share of the training between them at the default settings.

python benchmarks/monitors.py     prints the shares and writes benchmarks/results/monitors.json
"""

import statistics
import tempfile
import time
from pathlib import Path

from record import record

from openjepa.config import build_config
from openjepa.data.batches import Batches
from openjepa.data.scenes.scenes import Scenes
from openjepa.runs.images import mask_settings
from openjepa.runs.start import assemble, build_stepper
from openjepa.training.loop import LEAST_IMAGES, MONITOR_IMAGES, PROBE_IMAGES


def median_seconds(call, times: int = 5) -> float:
    spans = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        spans.append(time.perf_counter() - begun)
    return statistics.median(spans)


def main() -> None:
    config = build_config({}, {"steps": 1000, "workers": 0})
    scenes = Scenes(2000, 0, config.size)
    stepper = build_stepper(config, config.steps, [0.5] * 3, [0.25] * 3)
    batches = Batches(scenes, mask_settings(config), config.size, config.crop_scale, config.batch_size, config.seed)
    batch = batches[0]
    with tempfile.TemporaryDirectory() as folder:
        run = assemble(Path(folder), stepper, batches, config, "scenes", None).run
    image = median_seconds(lambda: stepper(0, batch)) / config.batch_size
    monitor = median_seconds(lambda: run.monitor(stepper.model))
    probe = median_seconds(lambda: run.probe(stepper.model.target_encoder))
    shares = {"monitors": monitor / (MONITOR_IMAGES * image), "probes": probe / (PROBE_IMAGES * image)}
    print(f"monitors {monitor:.2f} s every {MONITOR_IMAGES:,} images: {shares['monitors']:.2%} of training")
    print(f"  in short runs every {LEAST_IMAGES:,}: {monitor / (LEAST_IMAGES * image):.2%}")
    print(f"probes {probe:.2f} s every {PROBE_IMAGES:,} images: {shares['probes']:.2%} of training")
    record("monitors", model=config.model, **shares)


if __name__ == "__main__":
    main()
