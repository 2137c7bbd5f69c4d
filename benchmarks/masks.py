"""Cost of sampling masks as a share of the training step they are for, over grids.

python benchmarks/masks.py        prints a table and writes benchmarks/results/masks.json
"""

import statistics
import time

import torch
from plain import PLAIN
from record import record

from openjepa.config import build_config
from openjepa.data.batches import Batch
from openjepa.masking.samplers import sample_masks
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.build import build_stepper

SETTINGS = [("16", 4), ("32", 4), ("48", 4), ("64", 4)]
BATCH, STEPS = 256, 5


def seconds(call, times: int) -> float:
    spans = []
    for i in range(times):
        begun = time.perf_counter()
        call(i)
        spans.append(time.perf_counter() - begun)
    return statistics.median(spans)


def measure(size: str, patch: int) -> dict:
    config = build_config(PLAIN, {"image_size": size, "patch_size": patch, "batch_size": BATCH, "steps": 100})
    settings, stepper = mask_settings(config), build_stepper(config, 100, [0.5] * 3, [0.25] * 3)
    images = torch.randint(0, 256, (BATCH, 3, *config.size), dtype=torch.uint8)
    batches = [
        Batch(images[None], sample_masks(settings, BATCH, 0, step), torch.arange(BATCH)) for step in range(STEPS + 1)
    ]
    stepper(0, batches[0])
    step = seconds(lambda i: stepper(i + 1, batches[i + 1]), STEPS)
    masks = seconds(lambda i: sample_masks(settings, BATCH, 0, i), 20)
    return {"grid": config.grid_size, "masks_ms": 1e3 * masks, "step_ms": 1e3 * step, "share": masks / step}


def main() -> None:
    rows = [measure(*setting) for setting in SETTINGS]
    for row in rows:
        print("grid {grid}: masks {masks_ms:.2f} ms, step {step_ms:.0f} ms, share {share:.2%}".format(**row))
    record("masks", batch_size=BATCH, model="vit_nano", rows=rows)


if __name__ == "__main__":
    main()
