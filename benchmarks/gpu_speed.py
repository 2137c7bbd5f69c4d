"""Part 2 of gpu.py: images a second of a step (eager, CUDA graph, compiled) beside lightly's, and what the input gives.

Every contender has the same images and ids, AdamW, and bf16 where nothing else is said. They take turns; a ratio is the
median of the rounds' own. The share of the peak counts the products that the method needs.
"""

import contextlib
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from gpu_rows import Rows, about, arguments, photos
from plain import PLAIN
from torch.nn.attention import SDPBackend, sdpa_kernel

import openjepa
from openjepa.config import build_config
from openjepa.data.batches import Batch
from openjepa.data.crops import standardise
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.models.vit import SIZES, attend
from openjepa.runs.planning.build import build_stepper
from openjepa.training.graphs import capture
from openjepa.training.step import Stepper
from openjepa.training.timing import matrix_peak, seconds_of, step_flops, synchronise

MEAN, STD, COUNTED = [0.5] * 3, [0.25] * 3, 32
Step = Callable[[int], object]


@dataclass(frozen=True)
class Setting:
    """The networks and images of a step; predictor (width, depth, heads)."""

    model: str
    image_size: int
    patch_size: int
    batch_size: int
    predictor: tuple[int, int, int]
    device: str

    @property
    def name(self) -> str:
        return f"{self.model}/{self.patch_size} {self.image_size} px"

    def batch(self, size: int) -> Batch:
        """Random uint8 images on the device, with multi-block masks of the paper's settings."""
        side = self.image_size // self.patch_size
        masks = sample_masks(MaskSettings((side, side)), size, 0, 0)
        ids = type(masks)(masks.context_ids.to(self.device), masks.target_ids.to(self.device), masks.redrawn)
        shape = (size, 3, self.image_size, self.image_size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)
        return Batch(images[None], ids, torch.arange(size))

    def stepper(self, **changes: object) -> Stepper:
        width, depth, heads = self.predictor
        given = {"model": self.model, "image_size": self.image_size, "patch_size": self.patch_size, "steps": 10**6}
        given |= {"predictor_dim": width, "predictor_depth": depth, "predictor_heads": heads, "lr": 1.5e-4}
        given |= {"batch_size": self.batch_size, "device": self.device, "precision": "bf16", "optimizer": "adamw"}
        return build_stepper(build_config(PLAIN, given | changes), 10**6, MEAN, STD)


SETTINGS = [
    Setting("vit_base", 224, 16, 256, (384, 6, 12), "cuda"),
    Setting("vit_small", 128, 16, 256, (192, 6, 6), "cuda"),
    Setting("vit_small", 224, 16, 256, (384, 6, 12), "cuda"),
]
TINY = [Setting("vit_nano", 32, 8, 4, (64, 1, 4), "cpu")]


def rival(setting: Setting, batch: Batch, dtype: torch.dtype) -> Step:
    """lightly's modules, put together as its example does it; ImportError where it is not installed."""
    from step import Lightly

    given = SimpleNamespace(**{name: getattr(setting, name) for name in setting.__dataclass_fields__})
    model, images = Lightly(given, dtype), standardise(batch.images, MEAN, STD)
    return lambda step: model.step(images, batch.masks)


def contenders(setting: Setting, batch: Batch) -> dict[str, Callable[[], Step]]:
    """What builds each contender, by its name; the slowest to build last."""

    def steps(stepper: Stepper) -> Step:
        return lambda step: stepper(step, batch)

    def graphed(**changes: object) -> Step:
        stepper = setting.stepper(**changes)
        inputs = stepper.prepare(batch)
        return steps(dataclasses.replace(stepper, forward=capture(stepper.model, inputs, stepper.precision)))

    found: dict[str, Callable[[], Step]] = {
        "eager": lambda: steps(setting.stepper()),
        "lightly bf16": lambda: rival(setting, batch, torch.bfloat16),
    }
    if setting.device == "cuda":
        found["cuda graph"] = graphed
        found["cuda graph, muon"] = lambda: graphed(optimizer="muon")
        found["compiled"] = lambda: steps(setting.stepper(compile=True))
        found["compiled, cuda graph"] = lambda: graphed(compile=True)
    else:
        found["eager, muon"] = lambda: steps(setting.stepper(optimizer="muon"))
    return found


def memory_of(step: Step, device: torch.device) -> float:
    """GiB that three steps need at most, with what is allocated before them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for i in range(3):
        step(i)
    synchronise(device)
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0


def race(runners: dict[str, Step], batch_size: int, device: torch.device, until: float) -> dict[str, list[float]]:
    """Images a second of every contender in every round, at most six rounds and no new one after `until`."""
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(6):
        for name, run in runners.items():
            begun = time.perf_counter()
            for i in range(8):
                run(i)
            synchronise(device)
            rates[name].append(8 * batch_size / (time.perf_counter() - begun))
        if turn > 0 and time.monotonic() > until:
            break
    return rates


def measure(setting: Setting, rows: Rows, peak: float, until: float) -> None:
    """One row for each contender that can be built."""
    device, batch = torch.device(setting.device), setting.batch(setting.batch_size)
    counted = min(COUNTED, setting.batch_size)
    flops = step_flops(setting.stepper(), setting.batch(counted)) / counted
    runners: dict[str, Step] = {}
    memory: dict[str, float] = {}
    for name, build in contenders(setting, batch).items():
        if "compiled" in name and time.monotonic() > until:
            continue
        try:
            before = torch.cuda.memory_allocated() / 2**30 if device.type == "cuda" else 0.0
            step = build()
            memory[name] = memory_of(step, device) - before
            runners[name] = step
        except Exception as error:  # a contender that fails must not cost the others
            rows.add(f"{setting.name} {name}", error=f"{type(error).__name__}: {str(error)[:300]}")
    rates = race(runners, setting.batch_size, device, until)
    for name, found in rates.items():
        rate = statistics.median(found)
        row: dict[str, object] = {"images_per_second": rate, "memory_gib": memory[name], "rounds": len(found)}
        if name != "lightly bf16":
            row["fraction_of_peak"] = rate * flops / peak
        if (other := "lightly bf16") in rates and name != other:
            row[f"times {other}"] = statistics.median(a / b for a, b in zip(found, rates[other], strict=True))
        rows.add(f"{setting.name} {name}", **row)


def attention(setting: Setting) -> dict:
    """Milliseconds of attention, forward and backward, over the tokens of a batch, by each of torch's kernels."""
    width, heads = SIZES[setting.model][0], SIZES[setting.model][2]
    tokens = (setting.image_size // setting.patch_size) ** 2
    shape = (setting.batch_size, heads, tokens, width // heads)
    q, k, v = (torch.randn(shape, device=setting.device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    found: dict[str, object] = {"tokens": tokens}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, None):
        with sdpa_kernel(backend) if backend else contextlib.nullcontext():
            try:
                seconds = seconds_of(lambda: [attend(q, k, v).sum().backward() for _ in range(20)], q.device)
            except RuntimeError as error:
                found[backend.name.lower() if backend else "default"] = str(error)[:80]
                continue
        found[backend.name.lower() if backend else "default"] = 50 * seconds
    return found


def kernels(setting: Setting, **changes: object) -> dict:
    """The kernels that take most of a step's time, in percent of it."""
    stepper, batch = setting.stepper(**changes), setting.batch(setting.batch_size)
    for step in range(3):
        stepper(step, batch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for step in range(3, 6):
            stepper(step, batch)
        synchronise(batch.views.device)
    events = profile.key_averages()
    total = sum(event.self_device_time_total for event in events)
    most = sorted(events, key=lambda event: event.self_device_time_total, reverse=True)[:16]
    share = {event.key[:90]: round(100 * event.self_device_time_total / total, 1) for event in most}
    return {"milliseconds": total / 3000, "percent": share}


def whole(carry: Path, tiny: bool, device: str) -> dict:
    """`openjepa bench` of the recipe `small`: the step, the input and both."""
    workers = 0 if tiny else max(1, (os.cpu_count() or 2) - 2)
    changes = {"model": "vit_nano", "image_size": 32, "patch_size": 8, "batch_size": 8} if tiny else {}
    changes |= {"predictor_dim": 64, "predictor_heads": 4} if tiny else {}
    with tempfile.TemporaryDirectory() as folder:
        data, _ = photos(Path("none") if tiny else carry, Path(folder))
        seconds = 0.2 if tiny else 4.0
        found = openjepa.bench(data, recipe="small", device=device, workers=workers, seconds=seconds, **changes)
    return {"workers": workers, **found}


def main() -> None:
    given = arguments(__doc__).parse_args()
    rows, begun = Rows(given.rows, "speed"), time.monotonic()
    rows.add("about", **about(given.device))
    torch.manual_seed(0)
    peak = matrix_peak(given.device, torch.bfloat16)
    rows.add("peak", bf16_tflops=peak / 1e12)
    settings = TINY if given.tiny else SETTINGS
    for place, setting in enumerate(settings, 1):
        rows.attempt(
            setting.name,
            lambda setting=setting, place=place: (
                measure(setting, rows, peak, begun + given.limit * place / (len(settings) + 1)) or {}
            ),
        )
        if given.device.type == "cuda":
            torch.cuda.empty_cache()
    if given.device.type == "cuda":
        for setting in settings[:1]:
            rows.attempt(f"attention, {setting.name}", lambda setting=setting: attention(setting))
            rows.attempt(f"kernels, {setting.name}, compiled", lambda setting=setting: kernels(setting, compile=True))
            rows.attempt(f"kernels, {setting.name}", lambda setting=setting: kernels(setting))
    rows.attempt("input, small", lambda: whole(given.carry, given.tiny, str(given.device)))
    sys.exit(rows.failed)


if __name__ == "__main__":
    main()
