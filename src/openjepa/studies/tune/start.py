"""Begin a study or go on with one: images, labels or their absence, costs, plan."""

import dataclasses
import json
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openjepa._version import __version__
from openjepa.config import MACHINE, Config, build_config, current_names, normal, option, seconds, shown
from openjepa.console import duration, log
from openjepa.data.dataset import ImageDataset
from openjepa.data.summary import Summary
from openjepa.errors import UsageError
from openjepa.evaluation.splits import check_labels
from openjepa.files import usage_error, write_json
from openjepa.recipes import recipe
from openjepa.runs.images import check_new_folder, pick_for, prepare_images
from openjepa.runs.start import check_patches, fingerprint, resolve_precision
from openjepa.runs.unused_settings import check_settings
from openjepa.studies.tune.costs import measure_costs, plan_study
from openjepa.studies.tune.halving import FACTOR, Plan
from openjepa.studies.tune.label_free_score import agreement, read_study
from openjepa.studies.tune.space import RECIPE, candidates
from openjepa.studies.tune.study import Study
from openjepa.studies.tune.trials import Ground, make_ground

ENOUGH = 0.6  # rank correlation with accuracy, from which the label-free score may choose
FILE = "tune.json"


@dataclass(frozen=True)
class Request:
    """What the person asked for; `given` are the settings that stay as they are. Without a recipe the images decide."""

    data: str
    out: Path
    budget: str
    labelled: str | None
    recipe: str | None
    given: dict[str, Any]

    def words(self) -> list[str]:
        """The command that asks for this, without its settings."""
        words = ["openjepa", "tune", self.data, "--out", str(self.out), "--budget", self.budget]
        words += ["--labelled", self.labelled] if self.labelled else []
        return words + (["--recipe", self.recipe] if self.recipe else [])

    @property
    def again(self) -> str:
        return shlex.join([*self.words(), "--resume"])


def start_study(request: Request) -> tuple[Study, Request]:
    """A new study, its plan said, and the request with its recipe; nothing is written before all has been checked."""
    begun = time.monotonic()
    check_new_folder(request.out, "go on with --resume, or give --out another name")
    budget, base = budget_seconds(request.budget), base_config(request)
    if len(candidates(base, request.given)) == 1:
        raise UsageError("every setting that tune would change is given: leave one out, such as --lr")
    images = _images(request, base)
    request = settled(request, images[1])
    base = base_config(request)
    tried = candidates(base, request.given)
    ground = _ground(request, base, images)
    if not ground.labelled:
        check_score(request.data)
    log(f"measuring what the runs of {len(tried) - 1} changes cost")
    costs, baselines = measure_costs(ground, base, tried)
    plan = plan_study(costs, base, tried, budget, time.monotonic() - begun)
    tried.pop(RECIPE)
    study = Study(request.out, ground, base, tried, plan, baselines)
    log(*study_plan_lines(study))
    _write(study, request)
    return study, request


def settled(request: Request, summary: Summary) -> Request:
    """The request with the recipe that its images pick, and what that changes for them, where it names none."""
    if request.recipe:
        return request
    pick = pick_for(summary, request.given)
    return dataclasses.replace(request, recipe=pick.name, given=pick.changes | request.given)


def resume_study(request: Request) -> tuple[Study, Request]:
    """The study in the folder as planned, and its request; raises UsageError if it is another or there is none."""
    path = request.out / FILE
    if not path.is_file():
        raise UsageError(f"{request.out} holds no study to resume: leave out --resume to start one")
    try:
        stored = json.loads(path.read_text())
        base = Config(**{name: normal(name, value) for name, value in current_names(stored["base"]).items()})
        tried = {n: {k: normal(k, v) for k, v in current_names(c).items()} for n, c in stored["tried"].items()}
        plan, baselines = Plan(**stored["plan"]), stored["baselines"]
        asked, paths = stored["request"], stored["paths"]
        then = {name: normal(name, value) for name, value in current_names(asked["given"]).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is damaged ({error}): give --out another name to start again") from error
    _check_same(request, asked, base)
    given = {name: request.given[name] for name in MACHINE if name in request.given}
    base = dataclasses.replace(base, **given)
    request = dataclasses.replace(request, recipe=asked["recipe"], given=then | given)
    ground = _ground(request, base, _images(request, base))
    if fingerprint(ground.dataset) != paths:
        raise UsageError(f"{request.data} holds other images than the study in {request.out}: give it another --out")
    study = Study(request.out, ground, base, tried, plan, baselines)
    log(*study_plan_lines(study))
    return study, request


def _check_same(request: Request, asked: dict[str, str], base: Config) -> None:
    now = {name: getattr(request, name) for name in ("budget", "labelled", "recipe")}
    then = {name: asked[name] for name in now} | ({} if request.recipe else {"recipe": None})
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
    """The recipe with what was given, its precision settled; every trial gives it a length of its own."""
    for name in ("time", "epochs", "steps"):
        if name in request.given:
            raise UsageError(f"{option(name)} is decided by --budget here: leave it out")
    config = build_config(recipe(request.recipe or "laptop", request.given), request.given | {"steps": 1})
    check_settings(config, request.given)
    return resolve_precision(config)


def _images(request: Request, base: Config) -> tuple[ImageDataset, Summary]:
    wanted = {"max_skipped": base.max_skipped, "channels": base.channels, "pages": base.pages}
    return prepare_images(request.data, base.workers, **wanted)


def _ground(request: Request, base: Config, images: tuple[ImageDataset, Summary]) -> Ground:
    dataset, summary = images
    check_patches(request.data, summary, base.patch_size)
    labels = _labels(request, dataset, base)
    ground = make_ground(request.data, dataset, summary, labels, base)
    if request.labelled and not ground.labelled:
        raise UsageError(f"{request.labelled} holds too few labelled images: give a dozen or more, of two classes")
    return ground


def _labels(request: Request, dataset: ImageDataset, base: Config) -> ImageDataset:
    if not request.labelled:
        return dataset
    wanted = {"pixel_format": dataset.pixel_format, "max_skipped": base.max_skipped}
    labels, _ = prepare_images(request.labelled, base.workers, **wanted)
    check_labels(labels, labels)
    return labels


def check_score(data: str) -> None:
    """Raise UsageError if the label-free score has not ranked the runs of the study as accuracy did."""
    runs = read_study()
    rho = agreement(runs)
    if rho < ENOUGH:
        raise UsageError(
            f"{data} has no labels to choose by, and the score without labels may not choose (rank correlation with "
            f"accuracy {rho:.2f} over {len(runs)} runs, needed {ENOUGH}): put some images, a few hundred will do, in "
            "one folder a class and give them as --labelled"
        )


def study_plan_lines(study: Study) -> list[str]:
    """What will be tried, how long, and by what it is chosen."""
    plan, asked = study.plan, study.ground.labelled and len(study.ground.labelled[1])
    by = f"linear probe, on {asked:,} held-out images" if asked else "the score without labels"
    lines = [f"plan: {len(study.tried)} changes of the recipe, chosen by {by}"]
    for rung, (runs, images, taken) in enumerate(zip(plan.runs, plan.images, plan.seconds, strict=True), 1):
        steps = images // study.base.batch_size
        lines.append(
            f"  rung {rung}: up to {runs} runs of {steps:,} steps of {study.base.batch_size} images: {duration(taken)}"
        )
    return [*lines, f"  {duration(sum(plan.seconds))} in all; the best third goes on, {FACTOR} times as long"]


def _write(study: Study, request: Request) -> None:
    summary: Summary = study.ground.summary
    about = {
        "request": dataclasses.asdict(request) | {"out": str(request.out)},
        "base": dataclasses.asdict(study.base),
        "tried": study.tried,
        "plan": dataclasses.asdict(study.plan),
        "baselines": study.baselines,
        "found": dataclasses.asdict(summary),
        "paths": fingerprint(study.ground.dataset),
        "command": " ".join(sys.argv),
        "openjepa_version": __version__,
    }
    with usage_error(request.out):
        write_json(request.out / FILE, about)
