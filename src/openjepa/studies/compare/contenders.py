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
MOST_IMAGES = 10**12


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
    """What a run may take: seconds of training, or images; one of them is None."""

    seconds: float | None
    images: int | None

    def steps(self, batch_size: int, step_seconds: float) -> int:
        """The steps of a run."""
        if self.images:
            return max(1, self.images // batch_size)
        return steps_within(self.seconds or 0.0, batch_size, Cost(step_seconds, 0))


def parse_budget(text: str) -> Budget:
    """A duration, as 30m, or images:N. Raises UsageError."""
    kind, _, number = text.rpartition(":")
    count = int(number) if re.fullmatch(r"\d{1,13}", number, re.ASCII) else 0
    if kind == "images" and 1 <= count <= MOST_IMAGES:
        return Budget(None, count)
    try:
        return Budget(seconds(text), None)
    except UsageError as error:
        raise UsageError(
            f"--budget {shortened(text)} is not understood: give the time of a run, as 30m, or its images, as "
            "images:500000"
        ) from error


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
