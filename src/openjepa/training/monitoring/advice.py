"""What to change in a run that does not learn: what the plan, the verdict and the report advise comes from here."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from openjepa.errors import option
from openjepa.training.schedules import ema_half_life, ema_range

HALF_LIVES = 5  # of the target encoder, after which its weights are 97 % the run's own
SEEN_OFTEN = 300  # passes over the images, from which more steps are not advised
SLOWEST = 0.998  # EMA momentum at the start, beyond which no slower target encoder is advised
LEAST_PATCHES = 4  # on each side of an image, for masks to leave a context


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
    steps, more = settings.get("steps"), more_steps(settings)
    if not steps:
        return "train twice as long"
    if more is None:
        passes = settings.get("passes", 0)
        return f"train on more images (each was seen {passes:,.0f} times, so more steps alone will hardly help)"
    return f"train {'twice as long' if more == 2 * steps else f'for {more} steps or more'} (--steps {more})"


def more_steps(settings: Mapping[str, Any]) -> int | None:
    """The steps in all that a longer run should have; None where more steps are not advised, or none are known.

    `settings` as `longer` takes them.
    """
    steps, momentum = settings.get("steps"), settings.get("ema_momentum")
    if not steps:
        return None
    needed = least_steps(momentum[0]) if momentum and not settings.get("init") else 0
    if steps < needed:
        return needed
    return None if settings.get("passes", 0) >= SEEN_OFTEN else 2 * steps


def changes(settings: Mapping[str, Any]) -> dict[str, str]:
    """What to change, by the placeholder of the advice that names it: options with a value other than what is set.

    Of settings that are not known an option is named without a value. What has no effect beside the others is not
    advised: neither first weights nor another patch size beside --init.
    """
    fresh = not settings.get("init")
    unit = ["--weight-init unit"] * (fresh and settings.get("weight_init") != "unit")
    muon = ["--optimizer muon"] * (settings.get("optimizer") != "muon")
    lower, higher = _scaled("lr", settings, 0.5, "lower"), _scaled("lr", settings, 2, "higher")
    slower, usual = _slower_target(settings), _usual_target(settings)
    content = [*unit, *_larger_patches(settings)]
    signs = [f"where the loss hardly falls, use {higher}", *(f"where it falls to nothing, {one}" for one in slower)]
    faster = f", or use {higher}" * (more_steps(settings) is None)  # with more steps it may be too high
    larger = _scaled("predictor_dim", settings, 2, "larger")
    new_run = {
        "Content": "; ".join([*([f"use {listed(content)}"] if content else []), *signs, f"or {longer(settings)}"]),
        "Wider": f"use {listed([*unit, *muon, lower])}",
        "Slower": f"use {listed([*usual, larger, *_shorter(settings)])}",
        "Steadier": f"use {listed([*slower, lower])}",
        "Closer": f"use {listed([lower, *_usual_target(settings, if_faster=True)])}",
        "Kept": f"use {listed([lower, *_longer_freeze(settings), *slower])}",
    }
    advised = {name: f"In a new run, {text}" for name, text in new_run.items()}
    advised |= {"Longer": longer(settings), "LongerOrFaster": f"{longer(settings)}{faster}"}
    return {name: text[0].upper() + text[1:] for name, text in advised.items()} | {"lower": lower, "higher": higher}


def _scaled(name: str, settings: Mapping[str, Any], factor: float, how: str) -> str:
    """An option with what is set times a factor; where that is not known, `how` and the option alone."""
    value = settings.get(name)
    return f"{option(name)} {value * factor:g} (it is {value:g})" if value else f"a {how} {option(name)}"


def _slower_target(settings: Mapping[str, Any]) -> list[str]:
    """The option for a target encoder of about twice the half-life; none where nothing follows, or it hardly can."""
    momentum = settings.get("ema_momentum")
    if not momentum or momentum[0] > SLOWEST:
        return []
    return [_momentum(max(round((1 + momentum[0]) / 2, 4), ema_range(1)[0]), momentum)]


def _usual_target(settings: Mapping[str, Any], if_faster: bool = False) -> list[str]:
    """The option for the target encoder that suits the length of the run, where another, or a slower one, is set."""
    momentum, steps = settings.get("ema_momentum"), settings.get("steps")
    if not momentum or not steps:
        return []
    usual = round(ema_range(steps)[0], 4)
    differs = momentum[0] > usual + 1e-4 if if_faster else abs(momentum[0] - usual) > 1e-4
    return [_momentum(usual, momentum)] * differs


def _momentum(start: float, now: Sequence[float]) -> str:
    return f"--ema-momentum {start:g} 1 (it is {now[0]:g} {now[1]:g})"


def _larger_patches(settings: Mapping[str, Any]) -> list[str]:
    """The option for patches of twice the side, where they divide the image and leave enough of them to mask."""
    patch_size, size = settings.get("patch_size"), settings.get("image_size")
    if not patch_size or not size or settings.get("init"):
        return []
    sides = [int(side) for side in str(size).split("x")]
    fits = all(side % (2 * patch_size) == 0 and side // (2 * patch_size) >= LEAST_PATCHES for side in sides)
    return [f"--patch-size {2 * patch_size} (it is {patch_size})"] * fits


def _shorter(settings: Mapping[str, Any]) -> list[str]:
    steps = settings.get("steps", 0)
    return [f"--steps {steps // 2} (it is {steps})"] * (steps > 1)


def _longer_freeze(settings: Mapping[str, Any]) -> list[str]:
    """The option that trains a fresh predictor alone for longer, where one does and time is left for the encoder."""
    fraction = settings.get("init_freeze", 0)
    return [f"--init-freeze {2 * fraction:g} (it is {fraction:g})"] * (
        bool(settings.get("frozen")) and fraction <= 0.25
    )


def listed(words: Sequence[str]) -> str:
    """Words as an enumeration of alternatives: a, b or c."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
