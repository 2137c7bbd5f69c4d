"""Every setting of a training run, declared once: the command line and `openjepa.pretrain` are made from this."""

import dataclasses
import difflib
import json
import math
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openjepa.errors import UsageError
from openjepa.files import write_json

MODELS = ("vit_nano", "vit_micro", "vit_tiny", "vit_small", "vit_base", "vit_large", "vit_huge", "vit_giant")
CHOICES = {
    "method": ("ijepa", "hybrid", "mae"),
    "model": MODELS,
    "weight_init": ("unit", "published"),
    "masks": ("multiblock", "rasterized", "block", "random", "reference"),
    "optimizer": ("muon", "adamw"),
    "target_sequences": ("joint", "separate"),
    "loss": ("smooth_l1", "l2"),
    "precision": ("auto", "bf16", "float32"),
    "pages": ("first", "channels", "images"),
}
# Old names of settings and their names now: stored files keep the old ones, typed ones are accepted with a notice.
RENAMED = {"objective": "method", "mask_draws": "masks_per_image", "target_aspect": "target_aspect_ratio"}
MACHINE = ("device", "workers", "log_every", "checkpoint_minutes", "keep_every", "max_skipped", "accumulate")
MACHINE += ("checkpoint_activations", "compile", "cuda_graph")


def setting(default: Any, panel: str, text: str) -> Any:
    return field(default=default, metadata={"panel": panel, "help": text})


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run. Building one checks it: UsageError says what was given, what is allowed, what to do."""

    time: str | None = setting("10m", "Length", "Train at most this long, as 90s, 10m or 2h; resolved once to steps.")
    epochs: float | None = setting(None, "Length", "Passes over the images.")
    steps: int | None = setting(None, "Length", "Optimizer steps.")
    method: str = setting("ijepa", "Model", "What is predicted: ijepa representations, mae pixels, hybrid both.")
    init: str | None = setting(None, "Model", "Weights to go on from: a run, or anything that openjepa import takes.")
    init_freeze: float = setting(
        0.1, "Model", "With --init and no predictor there: share of the run in which a fresh predictor learns alone."
    )
    model: str = setting("vit_nano", "Model", f"Size: {', '.join(MODELS)}.")
    image_size: str = setting("32", "Model", "Pixels, as 32 or ROWSxCOLUMNS.")
    patch_size: int = setting(4, "Model", "Pixels a side; divides the image size.")
    channels: int | None = setting(None, "Model", "Channels that it reads; left out, the images decide.")
    pages: str = setting("first", "Model", "Of files with several images: first, channels (stacked) or images (apart).")
    weight_init: str = setting("unit", "Model", "Scale of the first weights: unit (keeps variance) or published (.02).")
    predictor_dim: int = setting(64, "Model", "Width of the predictor.")
    predictor_depth: int = setting(2, "Model", "Blocks of the predictor.")
    predictor_heads: int = setting(4, "Model", "Attention heads of the predictor.")
    masks: str | None = setting(None, "Masks", "multiblock (ijepa's), random (mae's), rasterized, block, or reference.")
    num_targets: int | None = setting(None, "Masks", "Target blocks an image (4; 1 for block and random).")
    target_scale: tuple[float, float] | None = setting(None, "Masks", "Share of the image in a target block (.15 .2).")
    target_aspect_ratio: tuple[float, float] = setting((0.75, 1.5), "Masks", "Height over width of a target block.")
    context_scale: tuple[float, float] | None = setting(
        None, "Masks", "Share of the image in the context block (.85 1)."
    )
    context_ratio: float = setting(0.25, "Masks", "Share of the patches that the context keeps.")
    masks_per_image: int = setting(1, "Masks", "Masks per image; they share one forward pass of the target encoder.")
    crop_scale: tuple[float, float] = setting((0.3, 1.0), "Training", "Share of an image in its random crop.")
    horizontal_flip: bool = setting(False, "Training", "Mirror half of the crops, left to right.")
    any_orientation: bool = setting(
        False,
        "Training",
        "Mirror and turn the crops: for images without an up or a left (microscope, satellite).",
    )
    batch_size: int = setting(64, "Training", "Images a step.")
    optimizer: str = setting("muon", "Training", "muon (in blocks; adamw elsewhere) or adamw.")
    lr: float = setting(1e-3, "Training", "Peak learning rate; muon takes five times that for its matrices.")
    lr_start: float = setting(0.0, "Training", "Learning rate that the warm-up starts from.")
    lr_end: float = setting(1e-6, "Training", "Learning rate at the end.")
    warmup: float = setting(0.1, "Training", "Share of the run in which the learning rate rises.")
    weight_decay: tuple[float, float] = setting((0.05, 0.05), "Training", "At the start and at the end.")
    ema_momentum: tuple[float, float] | None = setting(
        None, "Training", "Of the target encoder, at start and end; left out, .99 to .998 by the run's length, and 1."
    )
    target_sequences: str = setting(
        "joint", "Model", "Predict the blocks of an image in one sequence (joint) or one each (separate, as published)."
    )
    loss: str = setting("smooth_l1", "Training", "smooth_l1 or l2, between representations.")
    clip_grad: float = setting(3.0, "Training", "Largest gradient norm; 0 for no clipping.")
    seed: int = setting(0, "Training", "Same seed, same run.")
    device: str = setting("auto", "Machine", "auto (CUDA, then MPS, then CPU) or a device's name.")
    precision: str = setting("auto", "Machine", "auto (bf16 where the device has it), bf16 or float32.")
    workers: int = setting(2, "Machine", "Processes that read and crop images; 0 for none.")
    accumulate: int = setting(1, "Machine", "Parts that a batch is computed in, to save memory; same update.")
    checkpoint_activations: bool = setting(
        False, "Machine", "Compute activations again instead of keeping them: less memory, about a third slower."
    )
    compile: bool = setting(False, "Machine", "Compile the blocks with torch.compile, where there is a compiler.")
    cuda_graph: bool = setting(
        True, "Machine", "On a GPU, run a step's loss and gradients as one CUDA graph, where all steps have one shape."
    )
    log_every: int = setting(10, "Machine", "Steps between two lines of the log.")
    checkpoint_minutes: float = setting(5.0, "Machine", "Minutes between two checkpoints.")
    max_skipped: float = setting(
        0.05, "Machine", "Largest share of the images that may be unusable; with more the run stops."
    )
    keep_every: int = setting(0, "Machine", "Keep the checkpoint of every so many steps; 0 for last two and best.")

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed and (name, self.masks) != ("masks", None):
                raise UsageError(unknown(option(name), getattr(self, name), allowed))
        counts = ("patch_size", "predictor_dim", "predictor_depth", "predictor_heads", "batch_size", "masks_per_image")
        for name in (*counts, "log_every", "accumulate"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("workers", "keep_every", "clip_grad", "lr_start", "checkpoint_minutes"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        for name in ("crop_scale", "target_scale", "context_scale"):
            self._check(name, self._is_range(name, 0, 1), "two rising shares above 0 and at most 1, e.g. 0.3 1")
        self._check("seed", 0 <= self.seed < 2**63, "0 or more, below 2**63")
        self._check("lr_end", 0 <= self.lr_end < math.inf, "0 or more")
        self._check(
            "weight_decay", self._is_pair("weight_decay") and min(self.weight_decay) >= 0, "two numbers of 0 or more"
        )
        self._check("target_aspect_ratio", self._is_range("target_aspect_ratio", 0, 100), "two rising numbers above 0")
        self._check(
            "ema_momentum",
            self.ema_momentum is None
            or (self._is_pair("ema_momentum") and all(0 <= m <= 1 for m in self.ema_momentum)),
            "two numbers from 0 to 1",
        )
        self._check("max_skipped", 0 <= self.max_skipped <= 1, "a share from 0 to 1")
        self._check("context_ratio", 0 < self.context_ratio < 1, "above 0 and below 1")
        self._check("init_freeze", 0 <= self.init_freeze < 1, "at least 0 and below 1")
        self._check("warmup", 0 <= self.warmup < 1, "at least 0 and below 1")
        self._check("lr", 0 < self.lr < math.inf, "above 0")
        self._check("steps", self.steps is None or self.steps >= 1, "at least 1")
        self._check("epochs", self.epochs is None or 0 < self.epochs < math.inf, "above 0")
        self._check("channels", self.channels is None or self.channels >= 1, "at least 1")
        self._check("num_targets", self.num_targets is None or self.num_targets >= 1, "at least 1")
        self._check_shapes()
        if self.time is not None:
            seconds(self.time)

    def _check(self, name: str, good: bool, allowed: str) -> None:
        if not good:
            raise UsageError(f"{option(name)} {shown(getattr(self, name))} is not possible: give {allowed}")

    def _is_range(self, name: str, low: float, high: float) -> bool:
        bounds = getattr(self, name)
        return bounds is None or (self._is_pair(name) and low < bounds[0] <= bounds[1] <= high)

    def _is_pair(self, name: str) -> bool:
        pair = getattr(self, name)
        return isinstance(pair, tuple) and len(pair) == 2 and all(map(math.isfinite, pair))

    def _check_shapes(self) -> None:
        size, patch = image_size(self.image_size), self.patch_size
        if any(side % patch for side in size):
            near = "x".join(str(max(patch, round(side / patch) * patch)) for side in dict.fromkeys(size))
            raise UsageError(
                f"--patch-size {patch} does not divide --image-size {self.image_size}: the nearest is {near}"
            )
        step = math.lcm(4, self.predictor_heads)
        near = max(1, round(self.predictor_dim / step)) * step
        allowed = f"a multiple of 4 and of --predictor-heads {self.predictor_heads}, such as {near}"
        self._check("predictor_dim", self.predictor_dim % step == 0, allowed)

    @property
    def size(self) -> tuple[int, int]:
        """Image size (rows, columns) in pixels."""
        return image_size(self.image_size)

    @property
    def model_name(self) -> str:
        """The model in words."""
        return f"weights of {self.init}" if self.init else self.model

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.size[0] // self.patch_size, self.size[1] // self.patch_size


def current_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a stored file under the names that they have now."""
    return {RENAMED.get(name, name): value for name, value in settings.items()}


def given_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings given as keywords under the names that they have now, with a notice for every old one."""
    for old in settings.keys() & RENAMED.keys():
        if settings.get(RENAMED[old]) is not None:
            raise UsageError(f"{option(old)} is now {option(RENAMED[old])}: give one of them")
        notify_renamed(old)
        settings = {name: value for name, value in settings.items() if name != RENAMED[old]}
    return current_names(settings)


def given_options(words: list[str]) -> list[str]:
    """The words of a command line, options under the names that they have now, with a notice for every old one."""
    old_options = {option(old): old for old in RENAMED}
    current = []
    for word in words:
        name, equals, value = word.partition("=")
        if name in old_options:
            notify_renamed(old_options[name])
            word = option(RENAMED[old_options[name]]) + equals + value
        current.append(word)
    return current


def notify_renamed(old: str) -> None:
    """One line on stderr, of several processes from the first only."""
    if os.environ.get("RANK", "0") == "0":
        message = f"{option(old)} is now {option(RENAMED[old])}; the old name goes away in the next version"
        print(f"openjepa: {message}", file=sys.stderr)


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def shown(value: Any) -> str:
    return " ".join(f"{v:g}" for v in value) if isinstance(value, tuple | list) else str(value)


def unknown(what: str, given: Any, known: Any) -> str:
    """The message for a name that is not known, with the nearest that is."""
    near = difflib.get_close_matches(str(given), list(known), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{what} {given} is not known: known are {', '.join(known)}{hint}"


def image_size(given: str) -> tuple[int, int]:
    """(rows, columns) from 32 or 128x256; raises UsageError."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", given)
    if not match or int(match[1]) < 1 or int(match[2] or 1) < 1:
        raise UsageError(f"--image-size {given} is not a size: give pixels as 32, or rows by columns as 128x256")
    return int(match[1]), int(match[2] or match[1])


def seconds(given: str) -> float:
    """Seconds from 90s, 10m, 1.5h or a plain number of seconds; raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)", given.strip())
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0
    if value <= 0:
        raise UsageError(f"--time {given} is not a duration: give it as 90s, 10m or 2h")
    return value


FIELDS = {f.name: f for f in dataclasses.fields(Config)}
MAX_SKIPPED: float = FIELDS["max_skipped"].default


def build_config(base: dict[str, Any], given: dict[str, Any]) -> Config:
    """A Config from a recipe's settings and what the person gave, which wins; None means not given."""
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in FIELDS:
            raise UsageError(unknown("setting", name, FIELDS))
    if given.keys() & {"epochs", "steps"} and "time" not in given:
        given["time"] = None
    if given.keys() & {"time", "epochs", "steps"}:
        base = {name: value for name, value in base.items() if name not in ("epochs", "steps")}
    try:
        return Config(**{name: normal(name, value) for name, value in (base | given).items()})
    except TypeError as error:
        raise UsageError(f"a setting has the wrong type: {error}") from error


def normal(name: str, value: Any) -> Any:
    """A setting in its one form: pairs as tuples of floats, sizes and durations as text."""
    if name == "image_size" and not isinstance(value, str):
        return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    if name == "time" and value is not None:
        return str(value)
    return tuple(map(float, value)) if isinstance(value, list | tuple) else value


def save_config(path: Path, config: Config, resolved: dict[str, Any]) -> None:
    """Store the settings, and beside them what was resolved from data and machine, whole or not at all."""
    write_json(path, {"settings": dataclasses.asdict(config), **resolved})


def read_config(path: Path) -> tuple[Config, dict[str, Any]]:
    """The settings of a stored run and what was resolved with them; raises UsageError if the file is damaged."""
    try:
        stored = json.loads(path.read_text())
        settings = current_names(stored.pop("settings"))
        return Config(**{name: normal(name, value) for name, value in settings.items()}), stored
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged ({error}): give --out another name to start again") from error
