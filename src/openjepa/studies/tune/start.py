"""Start a study or resume one: images, labels, costs, plan."""

import dataclasses
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openjepa._version import __version__
from openjepa.console import duration, log
from openjepa.data.dataset import fingerprint
from openjepa.data.summary import Summary
from openjepa.errors import UsageError
from openjepa.files import usage_error, write_json
from openjepa.files.temporary import remove_leftovers
from openjepa.runs.command_line import typed_command
from openjepa.runs.images import check_new_folder, pick_for
from openjepa.runs.settings import (
    MACHINE,
    Config,
    normal,
    option,
    recipe_config,
    seconds,
    shown,
)
from openjepa.studies.trial import open_images, prepare_trials
from openjepa.studies.tune.costs import check_budget, measure_costs, plan_study
from openjepa.studies.tune.halving import FACTOR
from openjepa.studies.tune.space import RECIPE, candidates
from openjepa.studies.tune.stored import FILE, StoredRequest, read_study
from openjepa.studies.tune.study import Study


@dataclass(frozen=True)
class Request:
    """The options of the command; `given` are the settings that are not varied. Without a recipe the images decide."""

    data: str
    out: Path
    budget: str
    labelled: str | None
    recipe: str | None
    given: dict[str, Any]

    def words(self) -> list[str]:
        """The command of this request, without its settings."""
        words = ["openjepa", "tune", self.data, "--out", str(self.out), "--budget", self.budget]
        words += ["--labelled", self.labelled] if self.labelled else []
        return words + (["--recipe", self.recipe] if self.recipe else [])

    @property
    def again(self) -> str:
        return shlex.join([*self.words(), "--resume"])


def start_study(request: Request) -> tuple[Study, Request]:
    """A new study, its plan logged, and the request with its recipe; nothing is written before all is checked."""
    begun = time.monotonic()
    check_new_folder(request.out, "continue with --resume, or give --out another name")
    budget, base = budget_seconds(request.budget), base_config(request)
    if len(candidates(base, request.given)) == 1:
        raise UsageError("every setting that tune would change is given: leave one out, such as --lr")
    images = open_images(request.data, base)
    request = settled(request, images[1])
    base = base_config(request)
    tried = candidates(base, request.given)
    data = prepare_trials(request.data, images, request.labelled, base)
    check_budget(data, base, tried, budget, time.monotonic() - begun)
    log(f"measuring what the runs of {len(tried) - 1} changes cost")
    costs, baselines = measure_costs(data, base, tried)
    plan = plan_study(costs, base, tried, budget, time.monotonic() - begun)
    tried.pop(RECIPE)
    study = Study(request.out, data, base, tried, plan, baselines)
    log(*study_plan_lines(study))
    _write(study, request)
    return study, request


def settled(request: Request, summary: Summary) -> Request:
    """The request with the recipe that its images pick, where it names none, and what is changed for them."""
    given = {name: value for name, value in request.given.items() if value is not None}
    pick = pick_for(summary, given, request.recipe)
    return dataclasses.replace(request, recipe=pick.name, given=pick.changes | given)


def resume_study(request: Request) -> tuple[Study, Request]:
    """The study in the folder as planned, and its request; raises UsageError if it is another or there is none."""
    path = request.out / FILE
    if not path.is_file():
        raise UsageError(f"{request.out} holds no study to resume: leave out --resume to start one")
    planned = read_study(path)
    _check_same(request, planned.stored.request, planned.base)
    given = {name: normal(name, request.given[name]) for name in MACHINE if name in request.given}
    base = dataclasses.replace(planned.base, **given)
    request = dataclasses.replace(request, recipe=planned.stored.request.recipe, given=planned.given | given)
    remove_leftovers(request.out)
    data = prepare_trials(request.data, open_images(request.data, base), request.labelled, base)
    if fingerprint(data.dataset) != planned.stored.paths:
        raise UsageError(f"{request.data} holds other images than the study in {request.out}: give it another --out")
    study = Study(request.out, data, base, planned.tried, planned.plan, planned.baselines)
    log(*study_plan_lines(study))
    return study, request


def _check_same(request: Request, asked: StoredRequest, base: Config) -> None:
    now = {name: getattr(request, name) for name in ("budget", "labelled", "recipe")}
    then = {name: getattr(asked, name) for name in now} | ({} if request.recipe else {"recipe": None})
    now |= {name: normal(name, value) for name, value in request.given.items() if name not in MACHINE}
    then |= {name: getattr(base, name) for name in request.given if name not in MACHINE}
    for name, value in now.items():
        if value != then[name]:
            before = "without" if then[name] is None else f"with {option(name)} {shown(then[name])}, not"
            raise UsageError(f"{request.out} was started {before} {option(name)}: give what was given then to resume")


def budget_seconds(budget: str) -> float:
    try:
        return seconds(budget)
    except UsageError as error:
        raise UsageError(f"--budget {budget} is not a duration: give it as 30m or 2h") from error


def base_config(request: Request) -> Config:
    """The recipe with the settings given, its precision resolved; every trial has a length of its own."""
    return recipe_config(request.recipe or "laptop", request.given, steps=1)


def study_plan_lines(study: Study) -> list[str]:
    """What will be tried, how long, and what it is chosen by."""
    plan = study.plan
    by = f"linear probe, on {study.test_images:,} held-out images"
    lines = [f"plan: {len(study.candidates)} changes of the recipe, chosen by {by}"]
    for rung, (runs, images, taken) in enumerate(zip(plan.runs, plan.images, plan.seconds, strict=True), 1):
        steps = images // study.base.batch_size
        lines.append(
            f"  rung {rung}: up to {runs} runs of {steps:,} steps of {study.base.batch_size} images: {duration(taken)}"
        )
    return [*lines, f"  {duration(sum(plan.seconds))} in all; the best third is repeated, {FACTOR} times as long"]


def _write(study: Study, request: Request) -> None:
    summary: Summary = study.data.summary
    about = {
        "request": dataclasses.asdict(request) | {"out": str(request.out)},
        "base": dataclasses.asdict(study.base),
        "tried": study.candidates,
        "plan": dataclasses.asdict(study.plan),
        "baselines": study.baselines,
        "found": dataclasses.asdict(summary),
        "paths": fingerprint(study.data.dataset),
        "command": typed_command(),
        "openjepa_version": __version__,
    }
    with usage_error(request.out):
        write_json(request.out / FILE, about)
