"""What is compared: methods, each with its own views or with crops alone, and the budget that each gets."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from openjepa.errors import UsageError, unknown
from openjepa.methods.registry import METHODS
from openjepa.runs.planning.plan import steps_within
from openjepa.runs.planning.unused_settings import without_effect
from openjepa.runs.settings import Config, recipe_config, seconds
from openjepa.safety.schema import shortened
from openjepa.training.timing import Cost

VIEWS = ("own", "same", "both")
SAME = "crops"
ALL = "all"
MEASURES = ("linear", "knn", "knn-whitened", "fewshot", "retrieval", "probe-appearance", "robustness")
MOST_IMAGES, MOST_OPERATIONS = 10**12, 10**24


@dataclass(frozen=True)
class Contender:
    """A method, with the views that --views names, or its own (None)."""

    method: str
    views: str | None = None

    @property
    def name(self) -> str:
        return f"{self.method}, {self.views}" if self.views else self.method

    def config(self, recipe: str, given: Mapping[str, Any], seed: int) -> Config:
        """The recipe for this method with the settings that were given, and its first seed.

        Raises UsageError where a setting would do nothing, or is not possible.
        """
        return recipe_config(recipe, {**given, "method": self.method, "views": self.views, "seed": seed}, steps=1)


class Budget(NamedTuple):
    """What a run may take: seconds of training, images, or floating-point operations; the other two are None."""

    seconds: float | None = None
    images: int | None = None
    operations: int | None = None

    def steps(self, batch_size: int, step_seconds: float, operations: int) -> int:
        """The steps of a run, of which each takes so many seconds and operations; at least one."""
        if self.images:
            return max(1, self.images // batch_size)
        if self.operations:
            return max(1, self.operations // operations)
        return steps_within(self.seconds or 0.0, batch_size, Cost(step_seconds, 0))


def parse_budget(text: str) -> Budget:
    """A duration, as 30m, images:N or operations:N. Raises UsageError."""
    kind, _, number = text.rpartition(":")
    count = _whole(number)
    if kind == "images" and 1 <= count <= MOST_IMAGES:
        return Budget(images=count)
    if kind == "operations" and 1 <= count <= MOST_OPERATIONS:
        return Budget(operations=count)
    try:
        return Budget(seconds=seconds(text))
    except UsageError as error:
        raise UsageError(
            f"--budget {shortened(text)} is not understood: give the time of a run, as 30m, its images, as "
            "images:500000, or its floating-point operations, as operations:2e15"
        ) from error


def _whole(number: str) -> int:
    """A count from digits or as 2e15; 0 for anything else."""
    if re.fullmatch(r"\d{1,24}", number, re.ASCII):
        return int(number)
    return int(float(number)) if re.fullmatch(r"\d{1,6}(\.\d{1,6})?e\d{1,2}", number, re.ASCII) else 0


def parse_methods(text: str) -> list[str]:
    """Names of methods, separated by commas, or all. Raises UsageError for an unknown name."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if names == [ALL]:
        return list(METHODS)
    for name in names:
        if name not in METHODS:
            raise UsageError(unknown("--methods", name, (ALL, *METHODS)))
    if not names:
        raise UsageError(f"--methods is empty: give {ALL}, or some of {', '.join(METHODS)} with commas between")
    return names


def parse_measures(text: str) -> tuple[str, ...]:
    """Names of tasks of `evaluate`, separated by commas, the linear probe among them. Raises UsageError."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in MEASURES:
            raise UsageError(unknown("--tasks", name, MEASURES))
    if "linear" not in names:
        raise UsageError(f"--tasks {shortened(text)} lacks linear, by which methods are compared: add it")
    return names


def contenders(methods: list[str], views: str) -> list[Contender]:
    """Each method with its own views (own), with crops alone (same), or once with each (both). Raises UsageError.

    A method that sees one crop of an image, and one whose own views are crops, is compared once.
    """
    if views not in VIEWS:
        raise UsageError(unknown("--views", views, VIEWS))
    found = []
    for name in methods:
        method = METHODS[name].load()
        differs = method.views > 1 and method.default_views != SAME
        found += [Contender(name)] if views != "same" or not differs else []
        found += [Contender(name, SAME)] if views != "own" and differs else []
    return found


def fitting(recipe: str, given: Mapping[str, Any], contender: Contender, seed: int) -> Config:
    """The contender's config, without those of the `given` settings that do nothing under its method."""
    plain = contender.config(recipe, {}, seed)
    unused = without_effect(plain).keys()
    return contender.config(recipe, {name: value for name, value in given.items() if name not in unused}, seed)


def with_seed(config: Config, seed: int, steps: int) -> Config:
    return dataclasses.replace(config, seed=seed, steps=steps)
