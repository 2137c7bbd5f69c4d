"""What to change in a run that does not learn: what the plan, the verdict and the report advise comes from here."""

import math
from collections.abc import Mapping
from typing import Any

from openjepa.training.schedules import ema_half_life

HALF_LIVES = 5  # of the target encoder, after which its weights are 97 % the run's own
SEEN_OFTEN = 300  # passes over the images, from which more steps are not advised


def least_steps(ema_momentum: float) -> int:
    """The steps that a run needs so that its targets are not still those of an untrained encoder."""
    half_life = ema_half_life(ema_momentum)
    return math.ceil(HALF_LIVES * half_life) if math.isfinite(half_life) else 0


def longer(settings: Mapping[str, Any]) -> str:
    """How to train longer, as a clause that begins with a verb.

    `settings` are those of a run by name, as far as they are known; among them `steps`, and `passes` over the images.
    The steps are those that the plan asks for where the run has fewer. Images that were seen often are not to be seen
    more often.
    """
    steps = settings.get("steps")
    if not steps:
        return "train twice as long"
    momentum = settings.get("ema_momentum")
    needed = least_steps(momentum[0]) if momentum and not settings.get("init") else 0
    if steps < needed:
        return f"train for {needed} steps or more (--steps {needed})"
    passes = settings.get("passes", 0)
    if passes >= SEEN_OFTEN:
        return f"train on more images (each was seen {passes:,.0f} times, so more steps alone will hardly help)"
    return f"train twice as long (--steps {2 * steps})"


def changes(settings: Mapping[str, Any]) -> dict[str, str]:
    """What to change for more content, for more directions, for a longer run, and against targets of position alone.

    What is set already is not advised.
    """
    unit = ["--weight-init unit"] * (settings.get("weight_init") != "unit")
    muon = ["--optimizer muon"] * (settings.get("optimizer") != "muon")
    lr, dim = settings.get("lr"), settings.get("predictor_dim")
    lower = f"lower lr (it is {lr:g})" if lr else "lower lr"
    wider = f"--predictor-dim (it is {dim})" if dim else "--predictor-dim"
    advised = {
        "Content": f"Use {listed([*unit, 'smaller ema_momentum'])}, or {longer(settings)}",
        "Wider": listed([*(f"use {option}" for option in [*unit, *muon]), lower]),
        "Longer": longer(settings),
        "Slower": f"leave out --ema-momentum, use a larger {wider}, or train less long",
    }
    return {name: text[0].upper() + text[1:] for name, text in advised.items()}


def listed(words: list[str]) -> str:
    """Words as an enumeration of alternatives: a, b or c."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
