"""Every setting of a training run, declared once: the command line and `openjepa.pretrain` are made from this."""

import dataclasses
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from types import NoneType
from typing import Any, Protocol, get_args, get_type_hints

import numpy as np
import torch

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PAGES
from openjepa.device import PRECISIONS, choose_device, usual_workers
from openjepa.errors import UsageError, option, shown, unknown
from openjepa.masking.samplers import STRATEGIES
from openjepa.methods.ijepa import LOSSES
from openjepa.methods.registry import METHODS, VIEWS
from openjepa.models.vit import SIZES
from openjepa.own import OWN
from openjepa.safety.ranges import COUNT, NONE_OR_MORE, PART, PROPER_PART, Range
from openjepa.safety.schema import shortened
from openjepa.training.optimizer import OPTIMIZERS


class Described(Protocol):
    @property
    def help(self) -> str: ...


# Choices that are entries with a line of help, and the names of all choices: adding an entry there adds it here.
DESCRIBED: dict[str, Mapping[str, Described]] = {"method": METHODS, "masks": STRATEGIES, "views": VIEWS}
CHOICES: dict[str, Collection[str]] = {
    "method": METHODS,
    "model": SIZES,
    "weight_init": ("unit", "published"),
    "masks": STRATEGIES,
    "views": VIEWS,
    "optimizer": OPTIMIZERS,
    "target_sequences": ("joint", "separate"),
    "loss": LOSSES,
    "precision": ("auto", *PRECISIONS),
    "pages": PAGES,
}
LENGTH = ("time", "epochs", "steps")  # of which each limits the length of a run
DECIDED_BY_METHOD = ("masks", "views")  # where they are None
# Settings that may change when a run is resumed.
MACHINE = (
    *("device", "workers", "log_every", "checkpoint_minutes", "keep_every", "max_skipped", "accumulate"),
    *("checkpoint_activations", "compile", "cuda_graph", "deterministic"),
)

MOST_WORKERS = 4096


LONGEST_SIDE, MOST_SECONDS = 2**16, 100 * 366 * 86400
# Of an image, times its channels, and in a table of positions: larger ones could not be read back.
MOST_PIXELS, MOST_NUMBERS = 2**26, 2**25


def setting(default: Any, panel: str, text: str, allowed: Range | None = None, unset: str = "") -> Any:
    """A field of Config. `unset` is the word that a user may give for None."""
    return field(default=default, metadata={"panel": panel, "help": text, "allowed": allowed, "unset": unset})


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run. The defaults are recipe `laptop`. Building one checks it.

    Raises UsageError, which says what was given, what is allowed and what to do.
    """

    time: str | None = setting(
        "10m",
        "Length",
        "Train at most this long, as 90s, 10m or 2h; resolved once to steps; reading and report come on top.",
    )
    epochs: float | None = setting(None, "Length", "Passes over the images.", Range(0, above=True))
    steps: int | None = setting(None, "Length", "Optimizer steps.", COUNT)
    method: str = setting(next(iter(METHODS)), "Model", "Training method")
    init: str | None = setting(
        None,
        "Model",
        "Weights to start from: a run, what openjepa import takes, or a ViT of timm or transformers.",
    )
    init_freeze: float = setting(
        0.1,
        "Model",
        "With --init weights that have no predictor: fraction of the run that trains the new one alone.",
        PROPER_PART,
    )
    teacher: str | None = setting(
        None,
        "Model",
        "Trained model whose representations are predicted, in place of a target encoder: anything that embed takes.",
    )
    model: str = setting("vit_nano", "Model", "Size of the encoder")
    image_size: str = setting("32", "Model", "Pixels, as 32 or ROWSxCOLUMNS.")
    patch_size: int = setting(4, "Model", "Pixels of a patch's side; divides the image size.", Range(1, 4096))
    max_stretch: float = setting(
        0.1,
        "Model",
        "Images whose proportions differ from the model's by up to this fraction are seen whole, stretched; of others "
        "the centre is seen.",
        Range(0, 1e6),
    )
    channels: int | None = setting(
        None, "Model", "Channels of the images; left out, the images decide.", Range(1, 4096)
    )
    pages: str = setting("first", "Model", "Of files with several images, the first, all as channels, or all as images")
    weight_init: str = setting("unit", "Model", "Scale of the first weights, unit variance or a std of 0.02")
    predictor_dim: int = setting(64, "Model", "Width of the predictor.", Range(1, 16384))
    predictor_depth: int = setting(1, "Model", "Blocks of the predictor.", Range(1, 512))
    predictor_heads: int = setting(4, "Model", "Attention heads of the predictor.", Range(1, 1024))
    masks: str | None = setting("random", "Masks", "Which patches are context and which are targets")
    num_targets: int | None = setting(
        None, "Masks", "Target blocks of an image; left out, the masks decide.", Range(1, 4096)
    )
    target_scale: tuple[float, float] | None = setting(
        None,
        "Masks",
        "Fraction of the image in a target block, from and to; left out, the masks decide.",
        Range(0, 1, above=True),
    )
    target_aspect_ratio: tuple[float, float] = setting(
        (0.75, 1.5), "Masks", "Height over width of a target block, from and to.", Range(0, 100, above=True)
    )
    context_scale: tuple[float, float] | None = setting(
        None,
        "Masks",
        "Fraction of the image in the context block, from and to; left out, the masks decide.",
        Range(0, 1, above=True),
    )
    context_ratio: float = setting(
        0.15, "Masks", "Fraction of the patches that are context.", Range(0, 1, above=True, below=True)
    )
    masks_per_image: int = setting(
        4, "Masks", "Masks per image; they share one forward pass of the target encoder.", Range(1, 1024)
    )
    labels: bool = setting(
        True,
        "Training",
        "Use labels, where there are some, for probes during the run and to choose encoder-best-knn, never to train.",
    )
    crop_scale: tuple[float, float] = setting(
        (0.5, 1.0), "Training", "Fraction of an image's area in its random crop, from and to.", Range(0, 1, above=True)
    )
    horizontal_flip: bool = setting(False, "Training", "Mirror half of the crops, left to right.")
    views: str | None = setting(
        None,
        "Training",
        "How the crops of an image differ, for methods that compare several; left out, the method decides",
    )
    any_orientation: bool = setting(
        False,
        "Training",
        "Mirror and rotate the crops: for images without an up or a left (microscope, satellite).",
    )
    batch_size: int = setting(16, "Training", "Images in a step, over all processes.", COUNT)
    optimizer: str = setting("muon", "Training", "Optimizer; muon trains the matrices in blocks, adamw the rest")
    lr: float = setting(
        5e-4, "Training", "Peak learning rate; muon uses five times that for its matrices.", Range(0, above=True)
    )
    lr_start: float = setting(0.0, "Training", "Learning rate that the warm-up starts from.", NONE_OR_MORE)
    lr_end: float = setting(1e-6, "Training", "Learning rate at the end.", NONE_OR_MORE)
    warmup: float = setting(0.1, "Training", "Fraction of the run in which the learning rate rises.", PROPER_PART)
    weight_decay: tuple[float, float] = setting(
        (0.2, 0.2), "Training", "Weight decay at the start and at the end.", NONE_OR_MORE
    )
    ema_momentum: tuple[float, float] | None = setting(
        None,
        "Training",
        "Of the target encoder, at the start and at the end; left out, from 0.99 to 0.998 by the length of the run, "
        "and 1.",
        PART,
    )
    target_sequences: str = setting(
        "joint", "Model", "Predict the target blocks of an image in one sequence, or each in its own as published"
    )
    loss: str = setting("smooth_l1", "Training", "Loss between representations")
    clip_grad: float = setting(3.0, "Training", "Largest gradient norm; 0 for no clipping.", NONE_OR_MORE)
    seed: int = setting(
        0, "Training", "Seed of weights, order, crops and masks: the same seed gives the same run.", Range(0, 2**63 - 1)
    )
    device: str = setting("auto", "Machine", "auto (CUDA, then MPS, then CPU), or the name of a device.")
    precision: str = setting(
        "auto", "Machine", "Arithmetic; auto is bf16 where that is faster, or float16 on a GPU without it"
    )
    workers: int | None = setting(
        None,
        "Machine",
        "Processes that read images, 0 for none, or auto: few beside work on a CPU, more where a GPU needs them.",
        Range(0, MOST_WORKERS),
        unset="auto",
    )
    accumulate: int = setting(
        1, "Machine", "Parts that a batch is computed in, to save memory; the update is the same.", COUNT
    )
    checkpoint_activations: bool = setting(
        False, "Machine", "Recompute activations instead of keeping them: less memory, about a third slower."
    )
    compile: bool = setting(False, "Machine", "Compile the blocks with torch.compile, where there is a compiler.")
    cuda_graph: bool = setting(
        True, "Machine", "On a GPU, run a step's loss and gradients as one CUDA graph where all steps have one shape."
    )
    deterministic: bool = setting(False, "Machine", "On a GPU, take slower operations that always give the same bits.")
    log_every: int = setting(10, "Machine", "Steps between two lines of the log.", COUNT)
    checkpoint_minutes: float = setting(5.0, "Machine", "Minutes between two checkpoints.", NONE_OR_MORE)
    max_skipped: float = setting(
        0.05, "Machine", "Largest fraction of the images that may be unusable; beyond it the command stops.", PART
    )
    keep_every: int = setting(
        0, "Machine", "Keep the checkpoint of every so many steps; 0 keeps the last two and best.", NONE_OR_MORE
    )

    def __post_init__(self) -> None:
        for name in FIELDS:
            check_value(name, getattr(self, name))
        for name, allowed in CHOICES.items():
            known = (*allowed, *OWN.get(name, ()))
            value = getattr(self, name)
            if value not in known and not (value is None and name in DECIDED_BY_METHOD):
                raise UsageError(unknown(option(name), value, allowed))
        self._check_shapes()
        if self.time is not None:
            seconds(self.time)

    def _check_shapes(self) -> None:
        size, patch = image_size(self.image_size), self.patch_size
        if any(side % patch for side in size):
            near = size_text((nearest_multiple(size[0], patch), nearest_multiple(size[1], patch)))
            fits = next(number for number in range(patch, 0, -1) if not (size[0] % number or size[1] % number))
            smaller = f", or --patch-size {fits}" * (fits > 1)
            wrong = f"image size {self.image_size} is not a multiple of patch size {patch}"
            raise UsageError(f"{wrong}: give --image-size {near}{smaller}")
        width = SIZES[self.model][0] if self.model in SIZES else 1
        patches, most = math.prod(self.grid_size), MOST_NUMBERS // max(width, self.predictor_dim)
        if patches > most:
            raise UsageError(
                f"--image-size {self.image_size} in patches of --patch-size {patch} is {patches:,} patches: give a "
                f"smaller image or larger patches, at most {most:,}"
            )
        if math.prod(size) * (self.channels or 3) > MOST_PIXELS:
            raise UsageError(f"--image-size {self.image_size} is too large: give a smaller one, such as 1024")
        step = math.lcm(4, self.predictor_heads)
        if self.predictor_dim % step:
            nearest = max(1, round(self.predictor_dim / step)) * step
            allowed = f"a multiple of 4 and of --predictor-heads {self.predictor_heads}, such as {nearest}"
            raise impossible("predictor_dim", self.predictor_dim, allowed)

    @property
    def size(self) -> tuple[int, int]:
        """Image size (rows, columns) in pixels."""
        return image_size(self.image_size)

    @property
    def frame(self) -> Frame:
        """What the model sees of an image."""
        return Frame(self.size, self.max_stretch)

    @property
    def readers(self) -> int:
        """Processes that read images where nothing else is known; while training see `runs.planning.workers`."""
        return usual_workers(choose_device(self.device)) if self.workers is None else self.workers

    @property
    def model_name(self) -> str:
        """The model in words."""
        taught = f", taught by {self.teacher}" if self.teacher else ""
        return f"weights of {self.init}" if self.init else self.model + taught

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.size[0] // self.patch_size, self.size[1] // self.patch_size


def image_size(given: str) -> tuple[int, int]:
    """(rows, columns) from 32 or 128x256; raises UsageError."""
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", given, re.ASCII)
    rows, columns = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= min(rows, columns) <= max(rows, columns) <= LONGEST_SIDE:
        raise UsageError(
            f"--image-size {shortened(given)} is not a size: give pixels as 32, or rows by columns as 128x256, at most "
            f"{LONGEST_SIDE:,}"
        )
    return rows, columns


def nearest_multiple(side: int, patch: int) -> int:
    return max(patch, round(side / patch) * patch)


def size_text(size: tuple[int, int]) -> str:
    """(rows, columns) as --image-size takes them: 32, or 128x256."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def size_in_words(size: tuple[int, int]) -> str:
    """(rows, columns) in pixels."""
    return f"{size_text(size)} px" + " (rows x columns)" * (size[0] != size[1])


def seconds(given: str) -> float:
    """Seconds from 90s, 10m, 1.5h or a plain number of seconds, up to 100 years; raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)", given.strip(), re.ASCII)
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0
    if not 0 < value <= MOST_SECONDS:
        raise UsageError(f"--time {shortened(given)} is not a duration: give it as 90s, 10m or 2h")
    return value


FIELDS = {f.name: f for f in dataclasses.fields(Config)}
TYPES = get_type_hints(Config)


def help_of(name: str) -> str:
    """What a setting is, and its choices where it has some."""
    text = FIELDS[name].metadata["help"]
    if name in DESCRIBED:
        return f"{text}: {'; '.join(f'{choice}, {entry.help}' for choice, entry in DESCRIBED[name].items())}."
    return f"{text}: {', '.join(CHOICES[name])}." if name in CHOICES else text


MAX_SKIPPED: float = Config.max_skipped


def check_value(name: str, value: Any) -> None:
    """Raise UsageError, which names the setting, unless the value is of its declared type and within its range."""
    kind = get_args(TYPES[name]) or (TYPES[name],)
    within: Range = FIELDS[name].metadata["allowed"]
    if value is None and NoneType in kind:
        return
    if kind == (float, float) or get_args(kind[0]) == (float, float):
        rising = isinstance(value, tuple) and (not within.above or value == tuple(sorted(value, key=_number)))
        good = rising and len(value) == 2 and all(_number(part) in within for part in value)
        allowed = f"two {'rising ' * within.above}numbers {within}"
    elif within:
        good = isinstance(value, int | kind[0]) and _number(value) in within
        unset = FIELDS[name].metadata["unset"]
        allowed = f"a {'whole ' * (kind[0] is int)}number {within}" + f", or {unset}" * bool(unset)
    else:
        good, allowed = isinstance(value, kind[0]) and value != "", "True or False" if kind[0] is bool else "text"
    if not good:
        too_large = within is not None and within.high < _number(value) < math.inf
        raise impossible(name, value, f"at most {within.high:,}" if too_large else allowed)


def _number(value: Any) -> float:
    """A number as it is; NaN, which is in no range, for what is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def impossible(name: str, value: Any, allowed: str) -> UsageError:
    """The error for a value that a setting cannot have."""
    given = repr(value) if isinstance(value, str) else shown(value)
    return UsageError(f"{option(name)} {shortened(given)} is not possible: give {allowed}")


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
    return Config(**{name: normal(name, value) for name, value in {**base, **given}.items()})


def normal(name: str, value: Any) -> Any:
    """A setting in its one form: pairs as tuples of floats; sizes, durations, devices and paths as text."""
    value = value.item() if isinstance(value, np.generic) else value
    if name == "image_size" and isinstance(value, list | tuple):
        return "x".join(map(str, value))
    if (name == "image_size" and isinstance(value, int)) or (name == "time" and isinstance(value, int | float)):
        return str(value)
    if isinstance(value, str) and name in FIELDS and (unset := FIELDS[name].metadata["unset"]):
        return None if value == unset else int(value) if re.fullmatch(r"-?\d{1,9}", value, re.ASCII) else value
    if isinstance(value, torch.device | PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return tuple(float(part) if isinstance(part, int) and not isinstance(part, bool) else part for part in value)
    return value
