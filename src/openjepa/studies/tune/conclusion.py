"""What a study found: whether its winner beats the recipe, the command that trains with it, results by setting."""

import dataclasses
import shlex
from statistics import fmean
from typing import Any, NamedTuple

from openjepa.runs.command_line import option_words
from openjepa.runs.planning.unused_settings import without_effect
from openjepa.studies.tune.space import RECIPE, Changes, split, values_of
from openjepa.studies.tune.start import Request
from openjepa.studies.tune.study import Study

# Runs of one setting differ by more than 3 standard deviations by chance in about one case of ten (two to four runs).
CLEAR = 3.0


class Conclusion(NamedTuple):
    """How the winner compares with the recipe: "better", "within noise" or "keep the recipe", and in a sentence."""

    text: str
    sentence: str


def conclusion(study: Study) -> Conclusion:
    """Compare the winner with the recipe; it is clearly better if it leads by more than three times the noise."""
    winner = study.winner
    name, value, own = winner["candidate"], winner["linear"], study.values(len(study.plan.sizes))[RECIPE]
    if name == RECIPE:
        return Conclusion("keep the recipe", f"No change beat the recipe over {winner['steps']:,} steps.")
    if own is None:
        return Conclusion("better", f"The best run ({name}) trains, while the recipe as it is diverges.")
    by = f"{points(value - own)} ({percent(value)} against {percent(own)})"
    noise = f"runs of the same settings differ by {points(study.noise)} (one standard deviation)"
    if value - own <= CLEAR * study.noise:
        sentence = f"The best run ({name}) leads the recipe by {by}, but {noise}: the recipe may be as good."
        return Conclusion("within noise", sentence)
    return Conclusion("better", f"The best run ({name}) is better than the recipe by {by}; {noise}.")


def percent(value: float) -> str:
    """An accuracy as it is shown, in percent."""
    return f"{100 * value:z.1f}"


def points(difference: float) -> str:
    return f"{percent(difference)} points"


def winner_command(study: Study, request: Request) -> str:
    """The command that trains with the winner's settings for as long as the study took."""
    words = ["openjepa", "pretrain", request.data, "--out", f"{study.folder}-pretrained", "--time", request.budget]
    words += ["--recipe", request.recipe or "laptop"]  # without it, pretrain would choose by the images
    changes = study.winner["changes"]
    unused = without_effect(dataclasses.replace(study.base, **changes))
    settings = {name: value for name, value in (request.given | changes).items() if name not in unused}
    return shlex.join([*words, *option_words(settings)])


def results_by_setting(study: Study) -> dict[str, dict[Any, float]]:
    """Accuracies of the first rung by setting and value, the recipe's (the mean over its seeds) among them.

    Settings that were tried together with multiblock masks have a name that ends in ", multiblock"; the recipe with
    multiblock masks then stands among them.
    """
    found: dict[str, dict[Any, float]] = {}
    for record in study.rung(1):
        if record["changes"]:
            beside, setting, value = split(record["changes"])
            name = ", ".join([setting, *beside.values()])
            results = found.setdefault(name, _own_result(study, beside, setting))
            if "linear" in record:
                results[value] = record["linear"]
    return found


def _own_result(study: Study, beside: Changes, setting: str) -> dict[Any, float]:
    """The value that candidates tried together with these changes would otherwise have had, and its accuracy."""
    same = [record["linear"] for record in study.rung(1) if record["changes"] == beside and "linear" in record]
    results = same if beside else study.alike
    return {values_of(dataclasses.replace(study.base, **beside))[setting]: fmean(results)} if results else {}
