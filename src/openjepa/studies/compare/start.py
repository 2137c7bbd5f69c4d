"""Start a comparison or resume one: images, contenders, costs, plan."""

import dataclasses
import shlex
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
from openjepa.files.temporary import remove_leftovers
from openjepa.runs.command_line import typed_command
from openjepa.runs.evaluation import open_models
from openjepa.runs.images import check_new_folder, pick_for
from openjepa.runs.planning.build import build_batches, build_stepper
from openjepa.runs.planning.workers import first_workers
from openjepa.runs.settings import MACHINE, Config, normal
from openjepa.studies.compare.contenders import Budget, Contender, contenders, fitting, parse_budget, parse_methods
from openjepa.studies.compare.stored import FILE, StoredPlan, StoredRequest, read_comparison
from openjepa.studies.compare.study import Comparison
from openjepa.studies.trial import TrialData, as_encoder, open_images, prepare_trials
from openjepa.training.timing import measure_cost, step_flops

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Request:
    """The options of the command; `given` are the settings that all runs share. Without a recipe the images decide."""

    data: str
    out: Path
    methods: str
    budget: str
    views: str
    seeds: int
    labelled: str | None
    beside: tuple[str, ...]
    recipe: str | None
    given: dict[str, Any]

    @property
    def again(self) -> str:
        """The command that continues."""
        words = ["openjepa", "compare", self.data, "--out", str(self.out), "--methods", self.methods]
        words += ["--budget", self.budget, "--views", self.views, "--seeds", str(self.seeds)]
        words += ["--labelled", self.labelled] if self.labelled else []
        words += [word for name in self.beside for word in ("--beside", name)]
        return shlex.join([*words, *(["--recipe", self.recipe] if self.recipe else []), "--resume"])

    @property
    def first_seed(self) -> int:
        return self.given.get("seed") or 0


def start_comparison(request: Request) -> tuple[Comparison, Request]:
    """A new comparison, its plan logged, and the request with its recipe; nothing is written before all is checked."""
    check_new_folder(request.out, "continue with --resume, or give --out another name")
    budget, asked = parse_budget(request.budget), contenders(parse_methods(request.methods), request.views)
    if not 1 <= request.seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds {request.seeds} is not possible: give a whole number from 1 to {MOST_SEEDS:,}")
    before = _configs(request, asked)  # what cannot be is refused before the images are read
    images = open_images(request.data, next(iter(before.values())))
    request = _settled(request, images[1], budget)
    configs = _configs(request, asked)
    first = next(iter(configs.values()))
    data = prepare_trials(request.data, images, request.labelled, first)
    beside = _models(request, data, first)
    plans = _plans(data, budget, asked, configs)
    study = Comparison(request.out, data, configs, plans, beside, _seeds(request))
    log(*plan_lines(study))
    _write(study, request)
    return study, request


def resume_comparison(request: Request) -> tuple[Comparison, Request]:
    """The comparison in the folder as planned, and its request; UsageError if it is another or there is none."""
    path = request.out / FILE
    if not path.is_file():
        raise UsageError(f"{request.out} holds no comparison to resume: leave out --resume to start one")
    stored = read_comparison(path)
    given = {name: normal(name, value) for name, value in stored.request.given.items()}
    _check_same(request, stored.request, given)
    machine = {name: request.given[name] for name in MACHINE if name in request.given}
    request = dataclasses.replace(request, recipe=stored.request.recipe, given=given | machine)
    remove_leftovers(request.out)
    asked = [Contender(plan.method, plan.views) for plan in stored.plans.values()]
    if asked != contenders(parse_methods(request.methods), request.views):
        raise UsageError(f"{path} is damaged: its plans are not of the methods: give --out another name to start again")
    configs = _configs(request, asked)
    first = next(iter(configs.values()))
    data = prepare_trials(request.data, open_images(request.data, first), request.labelled, first)
    if fingerprint(data.dataset) != stored.paths:
        raise UsageError(f"{request.data} holds other images than those in {request.out}: give it another --out")
    beside = _models(request, data, first)
    study = Comparison(request.out, data, configs, stored.plans, beside, _seeds(request))
    log(*plan_lines(study))
    return study, request


def _check_same(request: Request, asked: StoredRequest, given: dict[str, Any]) -> None:
    names = ("methods", "budget", "views", "seeds", "labelled", *(["recipe"] if request.recipe else []))
    now = {name: getattr(request, name) for name in names} | {"beside": list(request.beside)}
    then = {name: getattr(asked, name) for name in now}
    shared = {name: value for name, value in request.given.items() if name not in MACHINE}
    now |= {name: normal(name, value) for name, value in shared.items()}
    then |= {name: given.get(name) for name in shared}
    for name, value in now.items():
        if value != then[name]:
            before = "without" if then[name] is None else f"with {option(name)} {shown(then[name])}, not"
            raise UsageError(f"{request.out} was started {before} {option(name)}: give what was given then to resume")


def _seeds(request: Request) -> range:
    return range(request.first_seed, request.first_seed + request.seeds)


def _settled(request: Request, summary: Summary, budget: Budget) -> Request:
    """The request with the recipe that its images pick, where it names none, and what is changed for them."""
    length = {"time": f"{budget.seconds:g}s"} if budget.seconds else {}
    pick = pick_for(summary, request.given | length, request.recipe)
    return dataclasses.replace(request, recipe=pick.name, given=pick.changes | request.given)


def _configs(request: Request, asked: list[Contender]) -> dict[str, Config]:
    recipe = request.recipe or "laptop"
    return {one.name: fitting(recipe, request.given, one, request.first_seed) for one in asked}


def _models(request: Request, data: TrialData, config: Config) -> dict[str, Model]:
    """What is measured beside the methods, by name."""
    encoder = as_encoder(build_stepper(config, 1, data.mean, data.std), data, config.max_stretch)
    pixels = pixels_beside(data.dataset.pixel_format, data.mean, data.std)
    found: dict[str, Model] = {"pixels": pixels, "untrained": untrained_like(encoder)}
    for name in request.beside:
        *_, model = open_models([name], config.device, config.precision)
        found[name] = model
    return found


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
        steps=budget.steps(config.batch_size, cost.step_seconds),
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
    return [*lines, f"  {duration(total)} of training in all"]


def _write(study: Comparison, request: Request) -> None:
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
