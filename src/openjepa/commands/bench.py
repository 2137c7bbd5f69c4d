"""`openjepa bench DATA`: how fast a run on this machine would be, how fast it could be, and what limits it."""

from typing import Annotated, Any

from typer import Option

from openjepa.commands.arguments.options import Data, Recipe, Settings
from openjepa.console import log, working
from openjepa.data.open import as_source
from openjepa.data.statistics import channel_statistics
from openjepa.errors import UsageError
from openjepa.recipe_settings import config_of
from openjepa.runs.images import prepare_images, settler
from openjepa.runs.planning.build import draft, settle_compiler
from openjepa.runs.planning.plan import speed_lines
from openjepa.runs.planning.unused_settings import check_settings
from openjepa.runs.settings import resolve_precision
from openjepa.training.timing import measure_speed

SETTINGS = Settings()


def bench(
    data: Data,
    *,
    recipe: Recipe = None,
    seconds: Annotated[float, Option(help="Seconds to measure the step alone, and again the input alone.")] = 3.0,
    **settings: Annotated[Any, SETTINGS],
) -> dict[str, float]:
    """Measure the step, the input and both for your images, model and device, and name the bottleneck.

    Takes the settings of pretrain and writes nothing.

    Returns images a second (step_rate, input_rate, rate), the fractions input_fraction and fraction_of_peak, and memory
    in bytes. Raises UsageError.
    """
    settings = SETTINGS.given(settings)
    if seconds <= 0:
        raise UsageError(f"--seconds {seconds:g} is not possible: give a number above 0")
    config = config_of(recipe, settings)
    check_settings(config, settings)
    dataset, summary = prepare_images(
        as_source(data), config.readers, max_skipped=config.max_skipped, channels=config.channels, pages=config.pages
    )
    config = settle_compiler(resolve_precision(config if config.init else settler(settings, recipe)(summary)))
    blueprint = draft(config, dataset, *channel_statistics(dataset, seed=config.seed))
    stepper = blueprint.stepper(10_000)
    with working("measuring"):
        speed = measure_speed(stepper, blueprint.batches, blueprint.first_workers, seconds)
    log(*speed_lines(config, stepper, speed))
    fractions = {"input_fraction": speed.together.input_fraction, "fraction_of_peak": speed.fraction_of_peak}
    rates = {"step_rate": speed.step_rate, "input_rate": speed.input_rate, "rate": speed.rate}
    return rates | fractions | {"memory": speed.together.memory}
