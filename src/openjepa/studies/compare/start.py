"""Start a comparison, resume one or join others in it: images, contenders, costs, plan."""

import dataclasses
import functools
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openjepa._version import __version__
from openjepa.console import counting, duration, log
from openjepa.data.dataset import fingerprint
from openjepa.data.summary import Summary
from openjepa.encoder.baselines import pixels_beside, untrained_like
from openjepa.encoder.features import Model
from openjepa.errors import UsageError, option, shown
from openjepa.files import usage_error, write_json
from openjepa.files.lock import locked
from openjepa.runs.command_line import typed_command
from openjepa.runs.evaluation import open_models
from openjepa.runs.images import check_new_folder, pick_for
from openjepa.runs.planning.build import build_batches, build_stepper
from openjepa.runs.planning.workers import first_workers
from openjepa.runs.settings import MACHINE, Config, normal
from openjepa.studies.compare.contenders import (
    Budget,
    Contender,
    contenders,
    fitting,
    parse_budget,
    parse_measures,
    parse_methods,
)
from openjepa.studies.compare.stored import FILE, StoredPlan, StoredRequest, read_comparison
from openjepa.studies.compare.study import Comparison
from openjepa.studies.compare.tuning import SHORTER, parse_tune
from openjepa.studies.trial import TrialData, as_encoder, open_images, prepare_trials
from openjepa.training.timing import measure_cost, step_flops

MOST_SEEDS = 1000
PLANNING = 3600.0  # seconds within which another process has planned a study


@dataclass(frozen=True)
class Request:
    """The options of the command; `given` are the settings that all runs share. Without a recipe the images decide.

    What is None was not given: it is taken from the study that is resumed, or else from `DEFAULTS`. Names of images and
    models are not taken from a study, which may be a stranger's: they have to be given again.
    """

    data: str
    out: Path
    methods: str | None
    budget: str | None
    views: str | None
    seeds: int | None
    labelled: str | None
    beside: tuple[str, ...] | None
    tasks: str | None
    tune: int | None
    recipe: str | None
    given: dict[str, Any]

    def complete(self, others: Mapping[str, Any]) -> "Complete":
        """The request with what was not given."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return Complete(**{**vars(self), **others, **known})


@dataclass(frozen=True)
class Complete(Request):
    """A request in which nothing is open but the recipe and the labelled images."""

    methods: str
    budget: str
    views: str
    seeds: int
    beside: tuple[str, ...]
    tasks: str
    tune: int

    @property
    def again(self) -> str:
        """The command that continues."""
        return self.command("--resume")

    def command(self, does: str) -> str:
        """The command for this study that `does` something; what it opens is named again."""
        words = ["openjepa", "compare", self.data, "--out", str(self.out)]
        words += ["--labelled", self.labelled] if self.labelled else []
        return shlex.join([*words, *(word for name in self.beside for word in ("--beside", name)), does])

    @property
    def first_seed(self) -> int:
        return self.given.get("seed") or 0


DEFAULTS = {"methods": "all", "budget": "10m", "views": "own", "seeds": 3, "beside": (), "tasks": "linear,knn,fewshot"}
DEFAULTS |= {"tune": 0}


def join_comparison(request: Request) -> tuple[Comparison, Complete]:
    """The comparison in the folder, or a new one that this process plans while others wait. Raises UsageError."""
    if not (request.out / FILE).is_file():
        with locked(request.out, wait=PLANNING):
            if not (request.out / FILE).is_file():
                return start_comparison(request)
    return resume_comparison(request)


def start_comparison(asked_for: Request) -> tuple[Comparison, Complete]:
    """A new comparison, its plan logged, and the request with its recipe; nothing is written before all is checked."""
    request = asked_for.complete(DEFAULTS)
    check_new_folder(request.out, "continue with --resume, or give --out another name")
    budget, asked = parse_budget(request.budget), contenders(parse_methods(request.methods), request.views)
    tasks, trials = parse_measures(request.tasks), parse_tune(request.tune)
    if not 1 <= request.seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds {request.seeds} is not possible: give a whole number from 1 to {MOST_SEEDS:,}")
    before = _configs(request, asked)  # what cannot be is refused before the images are read
    images = open_images(request.data, next(iter(before.values())))
    request = _settled(request, images[1], budget)
    configs = _configs(request, asked)
    first = next(iter(configs.values()))
    data = prepare_trials(request.data, images, request.labelled, first)
    beside = _models(request, data, first)
    for opens in beside.values():
        opens()  # so that a model that cannot be opened is refused now
    plans = _plans(data, budget, asked, configs)
    study = Comparison(request.out, data, configs, plans, beside, _seeds(request), tasks, trials)
    log(*plan_lines(study))
    _write(study, request)
    return study, request


def resume_comparison(asked_for: Request) -> tuple[Comparison, Complete]:
    """The comparison in the folder as planned, and its request; UsageError if it is another or there is none."""
    path = asked_for.out / FILE
    if not path.is_file():
        raise UsageError(f"{asked_for.out} holds no comparison to resume: leave out --resume to start one")
    stored = read_comparison(path)
    given = {name: normal(name, value) for name, value in stored.request.given.items()}
    _check_same(asked_for, stored.request, given)
    machine = {name: asked_for.given[name] for name in MACHINE if name in asked_for.given}
    then = stored.request.model_dump() | {"beside": tuple(stored.request.beside)}
    request = dataclasses.replace(asked_for.complete(then), given=given | machine)
    asked = [Contender(plan.method, plan.views) for plan in stored.plans.values()]
    if asked != contenders(parse_methods(request.methods), request.views):
        raise UsageError(f"{path} is damaged: its plans are not of the methods: give --out another name to start again")
    configs = {
        name: dataclasses.replace(config, precision=stored.plans[name].precision)
        for name, config in _configs(request, asked).items()
    }
    first = next(iter(configs.values()))
    data = prepare_trials(request.data, open_images(request.data, first), request.labelled, first)
    if fingerprint(data.dataset) != stored.paths:
        raise UsageError(f"{request.data} holds other images than those in {request.out}: give it another --out")
    beside, tasks = _models(request, data, first), parse_measures(request.tasks)
    return Comparison(request.out, data, configs, stored.plans, beside, _seeds(request), tasks, request.tune), request


def _check_same(request: Request, asked: StoredRequest, given: dict[str, Any]) -> None:
    names = ("methods", "budget", "views", "seeds", "tasks", "tune", "recipe")
    now = {name: getattr(request, name) for name in names if getattr(request, name) is not None}
    now |= {"labelled": request.labelled, "beside": list(request.beside or ())}
    then = {name: getattr(asked, name) for name in now}
    shared = {name: value for name, value in request.given.items() if name not in MACHINE}
    now |= {name: normal(name, value) for name, value in shared.items()}
    then |= {name: given.get(name) for name in shared}
    for name, value in now.items():
        if value != then[name]:
            before = "without" if then[name] is None else f"with {option(name)} {shown(then[name])}, not"
            raise UsageError(f"{request.out} was started {before} {option(name)}: give what was given then to resume")


def _seeds(request: Complete) -> range:
    return range(request.first_seed, request.first_seed + request.seeds)


def _settled(request: Complete, summary: Summary, budget: Budget) -> Complete:
    """The request with the recipe that its images pick, where it names none, and what is changed for them."""
    length = {"time": f"{budget.seconds:g}s"} if budget.seconds else {}
    pick = pick_for(summary, request.given | length, request.recipe)
    return dataclasses.replace(request, recipe=pick.name, given=pick.changes | request.given)


def _configs(request: Complete, asked: list[Contender]) -> dict[str, Config]:
    recipe = request.recipe or "laptop"
    return {one.name: fitting(recipe, request.given, one, request.first_seed) for one in asked}


def _models(request: Complete, data: TrialData, config: Config) -> dict[str, Callable[[], Model]]:
    """What opens the models that are measured beside the methods, by name."""

    def untrained() -> Model:
        return untrained_like(as_encoder(build_stepper(config, 1, data.mean, data.std), data, config.max_stretch))

    def named(name: str) -> Model:
        return open_models([name], config.device, config.precision)[-1]

    pixels = functools.partial(pixels_beside, data.dataset.pixel_format, data.mean, data.std)
    found: dict[str, Callable[[], Model]] = {"pixels": pixels, "untrained": untrained}
    return found | {name: functools.partial(named, name) for name in request.beside}


def _plans(
    data: TrialData, budget: Budget, asked: list[Contender], configs: dict[str, Config]
) -> dict[str, StoredPlan]:
    """The length of each contender's runs, by what a step costs, which is timed."""
    plans: dict[str, StoredPlan] = {}
    with counting("measuring what steps cost") as progress:
        for one in asked:
            plans[one.name] = _plan(data, budget, one, configs[one.name])
            progress(len(plans), len(asked))
    return plans


def _plan(data: TrialData, budget: Budget, one: Contender, config: Config) -> StoredPlan:
    stepper, batches = build_stepper(config, 100, data.mean, data.std), build_batches(data.dataset, config)
    operations = step_flops(stepper, batches[0])
    cost = measure_cost(stepper, batches, first_workers(config, data.dataset))
    return StoredPlan(
        method=one.method,
        views=one.views,
        steps=budget.steps(config.batch_size, cost.step_seconds, operations),
        precision=config.precision,
        batch_size=config.batch_size,
        crops=batches.views + batches.small_views,
        step_seconds=cost.step_seconds,
        operations=operations,
    )


def plan_lines(study: Comparison) -> list[str]:
    """What will be trained, how long, and what it is measured on."""
    test = len(study.data.labelled[1])
    runs = len(study.configs) * len(study.seeds)
    lines = [f"plan: {runs} runs, measured by {test:,} held-out images"]
    total = 0.0
    for name, plan in study.plans.items():
        taken = plan.steps * plan.step_seconds
        total += taken * len(study.seeds)
        lines.append(f"  {name}: {plan.steps:,} steps of {plan.batch_size} images, {duration(taken)} a seed")
        total += taken * study.tune / SHORTER
    before = f"; {study.tune} trials of each method before its runs, each of an eighth of a run" if study.tune else ""
    return [*lines, f"  {duration(total)} of training in all{before}"]


def _write(study: Comparison, request: Complete) -> None:
    asked = dataclasses.asdict(request) | {"beside": list(request.beside)}
    about = {
        "request": {name: value for name, value in asked.items() if name != "out"},
        "plans": {name: plan.model_dump() for name, plan in study.plans.items()},
        "paths": fingerprint(study.data.dataset),
        "first_seed": request.first_seed,
        "command": typed_command(),
        "openjepa_version": __version__,
    }
    with usage_error(request.out):
        write_json(request.out / FILE, about)
