"""Part 2 of gpu.py: images a second of a step (eager, CUDA graph, compiled) beside lightly's, and what the input gives.

Every contender has the same images and ids, AdamW, and bf16 where nothing else is said. They take turns; a ratio is the
median of the rounds' own. The share of the peak counts the products that the method needs.
"""

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from gpu_rows import Rows, about, arguments, photos
from plain import PLAIN

import openjepa
from openjepa.config import build_config
from openjepa.data.batches import Batch
from openjepa.data.crops import standardise
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.models.attention import attention_seconds, fastest
from openjepa.runs.planning.build import build_stepper, calls_in_step, with_attention, with_graph
from openjepa.training.step import Stepper
from openjepa.training.timing import matrix_peak, seconds_of, step_flops, synchronise

MEAN, STD, COUNTED = [0.5] * 3, [0.25] * 3, 32
RIVAL = "lightly bf16"
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
    """What builds each contender, by its name. Ours take the fastest kernel of attention, as runs do."""

    def ours(graph: bool = False, default_attention: bool = False, **changes: object) -> Step:
        stepper = setting.stepper(**changes)
        if setting.device == "cuda" and not default_attention:
            stepper = with_attention(stepper, batch)
        stepper = with_graph(stepper, batch) if graph else stepper
        return lambda step: stepper(step, batch)

    found: dict[str, Callable[[], Step]] = {"eager": ours, RIVAL: lambda: rival(setting, batch, torch.bfloat16)}
    if setting.device != "cuda":
        return found | {"eager, muon": partial(ours, optimizer="muon")}
    found["cuda graph"] = partial(ours, True)
    found["cuda graph, PyTorch's attention"] = partial(ours, True, True)
    return found | {"cuda graph, muon": partial(ours, True, optimizer="muon")}


def compiled(setting: Setting, batch: Batch) -> dict[str, Callable[[], Step]]:
    """What builds the compiled contenders, which takes long."""
    if setting.device != "cuda":
        return {}

    def ours(graph: bool) -> Step:
        stepper = with_attention(setting.stepper(compile=True), batch)
        stepper = with_graph(stepper, batch) if graph else stepper
        return lambda step: stepper(step, batch)

    return {"compiled": partial(ours, False), "compiled, cuda graph": partial(ours, True)}


def memory_of(step: Step, device: torch.device) -> float:
    """GiB that three steps need at most, with what is allocated before them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for i in range(3):
        step(i)
    synchronise(device)
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0


def race(
    runners: dict[str, Step], batch_size: int, device: torch.device, until: float, rounds: int = 6, steps: int = 8
) -> dict[str, list[float]]:
    """Images a second of every contender in every round, two rounds or more and no new one after `until`."""
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(rounds):
        for name, run in runners.items():
            begun = time.perf_counter()
            for i in range(steps):
                run(i)
            synchronise(device)
            rates[name].append(steps * batch_size / (time.perf_counter() - begun))
        if turn > 0 and time.monotonic() > until:
            break
    return rates


@dataclass
class Contest:
    """Contenders of one setting, and the rows of their races."""

    setting: Setting
    rows: Rows
    peak: float
    until: float
    runners: dict[str, Step] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def build(self, makers: dict[str, Callable[[], Step]]) -> None:
        """Build those that can be built, and run three steps of each; a row for one that fails."""
        device = torch.device(self.setting.device)
        for name, make in makers.items():
            begun = time.monotonic()
            try:
                before = torch.cuda.memory_allocated() / 2**30 if device.type == "cuda" else 0.0
                step = make()
                self.memory[name] = memory_of(step, device) - before
                self.runners[name] = step
            except Exception as error:  # a contender that fails must not cost the others
                self.rows.add(f"{self.setting.name} {name}", error=f"{type(error).__name__}: {str(error)[:300]}")
            if "compiled" in name:
                self.rows.add(f"{self.setting.name} {name}, built", seconds=time.monotonic() - begun)

    def run(self, names: Collection[str], flops: float, **lengths: int) -> None:
        """A race of those with these names, and a row for each: `flops` are those of an image."""
        taking = {name: step for name, step in self.runners.items() if name in names}
        rates = race(taking, self.setting.batch_size, torch.device(self.setting.device), self.until, **lengths)
        for name, found in rates.items():
            rate = statistics.median(found)
            row: dict[str, object] = {"images_per_second": rate, "memory_gib": self.memory[name]}
            row |= {"rounds": len(found), "contenders": len(rates)}
            if name != RIVAL:
                row["fraction_of_peak"] = rate * flops / self.peak
            if RIVAL in rates and name != RIVAL:
                row[f"times {RIVAL}"] = statistics.median(a / b for a, b in zip(found, rates[RIVAL], strict=True))
            self.rows.add(f"{self.setting.name} {name}", **row)


def measure(setting: Setting, rows: Rows, peak: float, until: float, tiny: bool) -> None:
    """One row for each contender that can be built; then the compiled ones in a race of their own, if there is time."""
    batch, counted = setting.batch(setting.batch_size), min(COUNTED, setting.batch_size)
    flops = step_flops(setting.stepper(), setting.batch(counted)) / counted
    contest, lengths = Contest(setting, rows, peak, until), {"rounds": 2, "steps": 2} if tiny else {}
    contest.build(contenders(setting, batch))
    contest.run([*contest.runners], flops, **lengths)
    makers = compiled(setting, batch)
    if makers and time.monotonic() < until:
        contest.build(makers)
        contest.run([*makers, "cuda graph", RIVAL], flops)


def attention(setting: Setting) -> dict:
    """Milliseconds of all attention of a step by each of PyTorch's kernels, and the one that runs choose."""
    device = torch.device(setting.device)
    calls = calls_in_step(setting.stepper(), setting.batch(setting.batch_size))
    seconds = attention_seconds(calls, device, partial(seconds_of, device=device))
    found = {name: 1000 * each for name, each in seconds.items() if math.isfinite(each)}
    return {"calls": sum(calls.values()), **found, "chosen": fastest(seconds)}


def kernels(setting: Setting, **changes: object) -> dict:
    """The kernels that take most of a step's time, in percent of it."""
    batch = setting.batch(setting.batch_size)
    stepper = with_attention(setting.stepper(**changes), batch)
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
    changes = {"model": "vit_nano", "image_size": 32, "patch_size": 8, "batch_size": 8} if tiny else {}
    changes |= {"predictor_dim": 64, "predictor_heads": 4} if tiny else {}
    with tempfile.TemporaryDirectory() as folder:
        data, _ = photos(Path("none") if tiny else carry, Path(folder))
        return openjepa.bench(data, recipe="small", device=device, seconds=0.1 if tiny else 4.0, **changes)


def main(words: list[str] | None = None) -> bool:
    """Run the part with the options `words` (those of the command line); whether something failed."""
    given = arguments(__doc__).parse_args(words)
    rows, begun = Rows(given.rows, "speed"), time.monotonic()
    rows.add("about", **about(given.device))
    torch.manual_seed(0)
    peak = matrix_peak(given.device, torch.bfloat16)
    rows.add("peak", bf16_tflops=peak / 1e12)
    settings = TINY if given.tiny else SETTINGS
    for place, setting in enumerate(settings, 1):
        until = begun + given.limit * place / (len(settings) + 1)
        rows.attempt(setting.name, lambda: measure(setting, rows, peak, until, given.tiny) or {})  # noqa: B023
        if given.device.type == "cuda":
            torch.cuda.empty_cache()
    rows.attempt(f"attention, {settings[0].name}", lambda: attention(settings[0]))
    rows.attempt("input, small", lambda: whole(given.carry, given.tiny, str(given.device)))
    for changes in ({"compile": True}, {}) if given.device.type == "cuda" else ():
        if time.monotonic() < begun + given.limit:
            name = f"kernels, {settings[0].name}{', compiled' * bool(changes)}"
            rows.attempt(name, partial(kernels, settings[0], **changes))
    return rows.failed


if __name__ == "__main__":
    sys.exit(main())
