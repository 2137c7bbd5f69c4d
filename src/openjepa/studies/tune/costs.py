"""What the trials of a study cost, measured before it starts, and the plan that fits the budget."""

import dataclasses
import time
from collections.abc import Mapping

from openjepa.console import counting, duration
from openjepa.encoder.baselines import pixels_beside
from openjepa.errors import UsageError
from openjepa.runs.planning.build import build_batches, build_stepper, draft
from openjepa.runs.planning.plan import OVERHEAD, schedule_of
from openjepa.runs.planning.workers import first_workers
from openjepa.runs.settings import Config, option
from openjepa.studies.trial import TrialData, as_encoder
from openjepa.studies.tune.halving import Costs, Plan, least_seconds, make_plan
from openjepa.studies.tune.space import RECIPE, REPEATS, Changes
from openjepa.training.monitoring.advice import HALF_LIVES
from openjepa.training.schedules import ema_half_life
from openjepa.training.timing import TIMED, WARM_UP, measure_cost

LEAST_STEPS = 50  # of a run in the first rung: after fewer, settings cannot be compared
FREE = ("lr", "ema_momentum", "weight_decay", "loss", "warmup")  # settings that do not change what a step costs
ROOM = 1.2  # on the least budget in the message, because the next measurement differs from this one


def plan_study(costs: Costs, base: Config, candidates: Mapping[str, Changes], budget: float, taken: float) -> Plan:
    """The plan for `budget` seconds of which `taken` have passed.

    Raises UsageError, which names the least possible budget, if it is too small.
    """
    plan = make_plan(costs, budget - taken, grown_images(base))
    images = LEAST_STEPS * base.batch_size
    if plan.images[0] < images:
        need = ROOM * (taken + least_seconds(costs, images))
        fixed = option(next(iter(list(candidates.values())[-1])))
        raise UsageError(
            f"--budget {duration(budget)} is too small to try {len(candidates) - 1} changes for {LEAST_STEPS} steps "
            f"each and the best for longer: give --budget {int(need / 60) + 1}m, or fix settings, such as {fixed}"
        )
    return plan


def check_budget(data: TrialData, base: Config, candidates: Mapping[str, Changes], budget: float, taken: float) -> None:
    """Raise UsageError at once, before all kinds of runs are timed, if runs of half the recipe's cost do not fit."""
    image, start = _stepping(data, base)
    full = Costs(dict.fromkeys(candidates, image), RECIPE, image, REPEATS, start)
    half = Costs(dict.fromkeys(candidates, image / 2), RECIPE, image / 2, REPEATS, 0.0)
    try:
        plan_study(half, base, candidates, budget, taken)
    except UsageError:
        plan_study(full, base, candidates, budget, taken)


def grown_images(base: Config) -> float:
    """Images after which targets are the run's own: before, it is too early to tell good settings from bad ones.

    MAE, which has no target encoder, is given as many.
    """
    return HALF_LIVES * ema_half_life(schedule_of(base, 1).ema_momentum[0]) * base.batch_size


def measure_costs(data: TrialData, base: Config, candidates: Mapping[str, Changes]) -> tuple[Costs, dict[str, dict]]:
    """Costs, timed by a few steps of each kind of run, and the accuracies of the baselines."""
    measuring, baselines = _measuring(data, base)
    kinds = {name: dataclasses.replace(base, **_costly(changes)) for name, changes in candidates.items()}
    found: dict[Config, tuple[float, float]] = {}
    with counting("measuring what steps cost") as progress:
        for kind in dict.fromkeys(kinds.values()):
            found[kind] = _stepping(data, kind)
            progress(len(found), len(set(kinds.values())))
    image = {name: OVERHEAD * found[kind][0] for name, kind in kinds.items()}
    beside = measuring + max(start for _, start in found.values())
    return Costs(image, RECIPE, _all_together(image, candidates), REPEATS, OVERHEAD * beside), baselines


def _costly(changes: Changes) -> Changes:
    return {name: value for name, value in changes.items() if name not in FREE}


def _stepping(data: TrialData, config: Config) -> tuple[float, float]:
    """Seconds an image, and seconds until the first steps are done."""
    begun = time.monotonic()
    stepper = build_stepper(config, WARM_UP + TIMED, data.mean, data.std)
    workers = first_workers(config, data.dataset)
    step = measure_cost(stepper, build_batches(data.dataset, config), workers).step_seconds
    return step / config.batch_size, max(0.0, time.monotonic() - begun - (WARM_UP + TIMED) * step)


def _measuring(data: TrialData, config: Config) -> tuple[float, dict[str, dict]]:
    """Seconds that a run spends on measuring at its start and end; accuracies of pixels and an untrained encoder."""
    stepper, begun = build_stepper(config, 1, data.mean, data.std), time.monotonic()
    draft(config, data.dataset, data.mean, data.std).monitor(stepper.model)
    monitored = time.monotonic()
    untrained = data.accuracies(as_encoder(stepper, data, config.max_stretch))
    seconds = 2 * (monitored - begun) + time.monotonic() - monitored
    pixels = pixels_beside(data.dataset.pixel_format, data.mean, data.std)
    return seconds, {"untrained": untrained, "pixels": data.accuracies(pixels)}


def _all_together(image: Mapping[str, float], candidates: Mapping[str, Changes]) -> float:
    """An upper bound on the seconds an image of any combination: every setting adds what its costliest value adds."""
    more: dict[str, float] = {}
    for name, changes in candidates.items():
        for setting in changes:
            more[setting] = max(more.get(setting, 0.0), image[name] - image[RECIPE])
    return image[RECIPE] + sum(more.values())
