"""Drawn scenes by name: scenes, scenes:COUNT or scenes:COUNT:SEED."""

import re

from openjepa.data.scenes.scenes import Scenes
from openjepa.data.sources.registry import Progress
from openjepa.errors import UsageError

NAME = re.compile(r"scenes(?::([1-9][0-9]{0,6})(?::([0-9]{1,9}))?)?")


def takes(name: str) -> bool:
    return name == "scenes" or name.startswith("scenes:")


def open(name: str, progress: Progress = None) -> Scenes:
    """20,000 scenes of seed 0 unless the name gives others. Raises UsageError."""
    match = NAME.fullmatch(name)
    if not match:
        raise UsageError(f"{name} is not understood: write scenes, scenes:COUNT or scenes:COUNT:SEED (scenes:20000:0)")
    return Scenes(count=int(match[1] or 20000), seed=int(match[2] or 0))
