"""Every setting of a training run, declared once: the command line and `openjepa.pretrain` are made from this."""

import dataclasses
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PAGES
from openjepa.device import PRECISIONS
from openjepa.errors import UsageError, option, shown, unknown
from openjepa.files import write_json
from openjepa.masking.samplers import STRATEGIES
from openjepa.methods.ijepa import LOSSES
from openjepa.methods.registry import METHODS
from openjepa.models.vit import SIZES
from openjepa.renamed import all_settings
from openjepa.training.optimizer import OPTIMIZERS


class Described(Protocol):
    @property
    def help(self) -> str: ...


# Choices that are entries with a line of help, and the names of all choices: adding an entry there adds it here.
DESCRIBED: dict[str, Mapping[str, Described]] = {"method": METHODS, "masks": STRATEGIES}
CHOICES: dict[str, Collection[str]] = {
    "method": METHODS,
    "model": SIZES,
    "weight_init": ("unit", "published"),
    "masks": STRATEGIES,
    "optimizer": OPTIMIZERS,
    "target_sequences": ("joint", "separate"),
    "loss": LOSSES,
    "precision": ("auto", *PRECISIONS),
    "pages": PAGES,
}
# Settings that may change when a run is resumed.
MACHINE = (
    *("device", "workers", "log_every", "checkpoint_minutes", "keep_every", "max_skipped", "accumulate"),
    *("checkpoint_activations", "compile", "cuda_graph"),
)


def setting(default: Any, panel: str, text: str) -> Any:
    return field(default=default, metadata={"panel": panel, "help": text})


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run. The defaults are recipe `laptop`. Building one checks it.

    Raises UsageError, which says what was given, what is allowed and what to do.
    """

    time: str | None = setting("10m", "Length", "Train at most this long, as 90s, 10m or 2h; resolved once to steps.")
    epochs: float | None = setting(None, "Length", "Passes over the images.")
    steps: int | None = setting(None, "Length", "Optimizer steps.")
    method: str = setting(next(iter(METHODS)), "Model", "Training method")
    init: str | None = setting(None, "Model", "Weights to start from: a run, or anything that openjepa import takes.")
    init_freeze: float = setting(
        0.1, "Model", "With --init weights that have no predictor: fraction of the run that trains the new one alone."
    )
    model: str = setting("vit_nano", "Model", "Size of the encoder")
    image_size: str = setting("32", "Model", "Pixels, as 32 or ROWSxCOLUMNS.")
    patch_size: int = setting(4, "Model", "Pixels of a patch's side; divides the image size.")
    max_stretch: float = setting(
        0.1,
        "Model",
        "Images whose proportions differ from the model's by up to this fraction are seen whole, stretched; of others "
        "the centre is seen.",
    )
    channels: int | None = setting(None, "Model", "Channels of the images; left out, the images decide.")
    pages: str = setting("first", "Model", "Of files with several images, the first, all as channels, or all as images")
    weight_init: str = setting("unit", "Model", "Scale of the first weights, unit variance or a std of 0.02")
    predictor_dim: int = setting(64, "Model", "Width of the predictor.")
    predictor_depth: int = setting(1, "Model", "Blocks of the predictor.")
    predictor_heads: int = setting(4, "Model", "Attention heads of the predictor.")
    masks: str | None = setting("random", "Masks", "Which patches are context and which are targets")
    num_targets: int | None = setting(None, "Masks", "Target blocks of an image; left out, the masks decide.")
    target_scale: tuple[float, float] | None = setting(
        None, "Masks", "Fraction of the image in a target block, from and to; left out, the masks decide."
    )
    target_aspect_ratio: tuple[float, float] = setting(
        (0.75, 1.5), "Masks", "Height over width of a target block, from and to."
    )
    context_scale: tuple[float, float] | None = setting(
        None, "Masks", "Fraction of the image in the context block, from and to; left out, the masks decide."
    )
    context_ratio: float = setting(0.15, "Masks", "Fraction of the patches that are context.")
    masks_per_image: int = setting(4, "Masks", "Masks per image; they share one forward pass of the target encoder.")
    crop_scale: tuple[float, float] = setting(
        (0.5, 1.0), "Training", "Fraction of an image's area in its random crop, from and to."
    )
    horizontal_flip: bool = setting(False, "Training", "Mirror half of the crops, left to right.")
    any_orientation: bool = setting(
        False,
        "Training",
        "Mirror and rotate the crops: for images without an up or a left (microscope, satellite).",
    )
    batch_size: int = setting(16, "Training", "Images in a step, over all processes.")
    optimizer: str = setting("muon", "Training", "Optimizer; muon trains the matrices in blocks, adamw the rest")
    lr: float = setting(5e-4, "Training", "Peak learning rate; muon uses five times that for its matrices.")
    lr_start: float = setting(0.0, "Training", "Learning rate that the warm-up starts from.")
    lr_end: float = setting(1e-6, "Training", "Learning rate at the end.")
    warmup: float = setting(0.1, "Training", "Fraction of the run in which the learning rate rises.")
    weight_decay: tuple[float, float] = setting((0.2, 0.2), "Training", "Weight decay at the start and at the end.")
    ema_momentum: tuple[float, float] | None = setting(
        None,
        "Training",
        "Of the target encoder, at the start and at the end; left out, from 0.99 to 0.998 by the length of the run, "
        "and 1.",
    )
    target_sequences: str = setting(
        "joint", "Model", "Predict the target blocks of an image in one sequence, or each in its own as published"
    )
    loss: str = setting("smooth_l1", "Training", "Loss between representations")
    clip_grad: float = setting(3.0, "Training", "Largest gradient norm; 0 for no clipping.")
    seed: int = setting(0, "Training", "Seed of weights, order, crops and masks: the same seed gives the same run.")
    device: str = setting("auto", "Machine", "auto (CUDA, then MPS, then CPU), or the name of a device.")
    precision: str = setting("auto", "Machine", "Arithmetic; auto is bf16 where the device has it")
    workers: int = setting(2, "Machine", "Processes that read images; 0 for none.")
    accumulate: int = setting(
        1, "Machine", "Parts that a batch is computed in, to save memory; the update is the same."
    )
    checkpoint_activations: bool = setting(
        False, "Machine", "Recompute activations instead of keeping them: less memory, about a third slower."
    )
    compile: bool = setting(False, "Machine", "Compile the blocks with torch.compile, where there is a compiler.")
    cuda_graph: bool = setting(
        True, "Machine", "On a GPU, run a step's loss and gradients as one CUDA graph where all steps have one shape."
    )
    log_every: int = setting(10, "Machine", "Steps between two lines of the log.")
    checkpoint_minutes: float = setting(5.0, "Machine", "Minutes between two checkpoints.")
    max_skipped: float = setting(
        0.05, "Machine", "Largest fraction of the images that may be unusable; beyond it the command stops."
    )
    keep_every: int = setting(
        0, "Machine", "Keep the checkpoint of every so many steps; 0 keeps the last two and best."
    )

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
            self._check(name, self._is_range(name, 0, 1), "two rising fractions above 0 and at most 1, e.g. 0.3 1")
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
        self._check("max_skipped", 0 <= self.max_skipped <= 1, "a fraction from 0 to 1")
        self._check("max_stretch", 0 <= self.max_stretch < math.inf, "0 or more, e.g. 0.1")
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
        nearest = max(1, round(self.predictor_dim / step)) * step
        allowed = f"a multiple of 4 and of --predictor-heads {self.predictor_heads}, such as {nearest}"
        self._check("predictor_dim", self.predictor_dim % step == 0, allowed)

    @property
    def size(self) -> tuple[int, int]:
        """Image size (rows, columns) in pixels."""
        return image_size(self.image_size)

    @property
    def frame(self) -> Frame:
        """What the model sees of an image."""
        return Frame(self.size, self.max_stretch)

    @property
    def model_name(self) -> str:
        """The model in words."""
        return f"weights of {self.init}" if self.init else self.model

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.size[0] // self.patch_size, self.size[1] // self.patch_size


def image_size(given: str) -> tuple[int, int]:
    """(rows, columns) from 32 or 128x256; raises UsageError."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", given)
    if not match or int(match[1]) < 1 or int(match[2] or 1) < 1:
        raise UsageError(f"--image-size {given} is not a size: give pixels as 32, or rows by columns as 128x256")
    return int(match[1]), int(match[2] or match[1])


def size_text(size: tuple[int, int]) -> str:
    """(rows, columns) as --image-size takes them: 32, or 128x256."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def size_in_words(size: tuple[int, int]) -> str:
    """(rows, columns) in pixels."""
    return f"{size_text(size)} px" + " (rows x columns)" * (size[0] != size[1])


def seconds(given: str) -> float:
    """Seconds from 90s, 10m, 1.5h or a plain number of seconds; raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)", given.strip())
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0
    if value <= 0:
        raise UsageError(f"--time {given} is not a duration: give it as 90s, 10m or 2h")
    return value


FIELDS = {f.name: f for f in dataclasses.fields(Config)}


def help_of(name: str) -> str:
    """What a setting is, and its choices where it has some."""
    text = FIELDS[name].metadata["help"]
    if name in DESCRIBED:
        return f"{text}: {'; '.join(f'{choice}, {entry.help}' for choice, entry in DESCRIBED[name].items())}."
    return f"{text}: {', '.join(CHOICES[name])}." if name in CHOICES else text


MAX_SKIPPED: float = Config.max_skipped


def build_config(base: Mapping[str, Any], given: Mapping[str, Any]) -> Config:
    """A Config from a recipe's settings and what the user gave, which overrides them; None means not given."""
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in FIELDS:
            raise UsageError(unknown("setting", name, FIELDS))
    if given.keys() & {"epochs", "steps"} and "time" not in given:
        given["time"] = None
    if given.keys() & {"time", "epochs", "steps"}:
        base = {name: value for name, value in base.items() if name not in ("epochs", "steps")}
    try:
        return Config(**{name: normal(name, value) for name, value in {**base, **given}.items()})
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
        settings = all_settings(stored.pop("settings"))
        return Config(**{name: normal(name, value) for name, value in settings.items()}), stored
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged ({error}): give --out another name to start again") from error
