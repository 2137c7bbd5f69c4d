"""`openjepa bench DATA`: how fast a run on this machine would be, how fast it could be, and what holds it back."""

from typing import Annotated, Any

from typer import Option

from openjepa.commands.options import Data, with_settings


@with_settings
def bench(
    data: Data,
    *,
    recipe: Annotated[
        str | None, Option(help="Named settings, as of pretrain; left out, images and device decide.")
    ] = None,
    seconds: Annotated[float, Option(help="To spend on the step alone and on the input alone, each.")] = 3.0,
    **settings: Any,
) -> dict[str, float]:
    """Measure the step, the input and both for your images, model and device, and name the bottleneck.

    Takes the settings of pretrain and writes nothing. Returns images a second (step_rate, input_rate, rate), the
    fractions input_fraction and fraction_of_peak, and memory in bytes. Raises UsageError for what a person can mend.
    """
    from openjepa.config import build_config
    from openjepa.console import console, log
    from openjepa.data.statistics import channel_statistics
    from openjepa.errors import UsageError
    from openjepa.recipes import recipe as settings_of
    from openjepa.runs.build_training import build_batches, build_stepper, settle_compiler
    from openjepa.runs.images import prepare_images, settler
    from openjepa.runs.plan import speed_lines
    from openjepa.runs.start import resolve_precision
    from openjepa.runs.unused_settings import check_settings
    from openjepa.training.timing import measure_speed

    if seconds <= 0:
        raise UsageError(f"--seconds {seconds:g} is not possible: give a number above 0")
    config = build_config(settings_of(recipe or "laptop", settings), settings)
    check_settings(config, settings)
    wanted = {"max_skipped": config.max_skipped, "channels": config.channels, "pages": config.pages}
    dataset, summary = prepare_images(str(data), config.workers, **wanted)
    config = settle_compiler(resolve_precision(config if recipe else settler(settings)(summary)))
    batches = build_batches(dataset, config)
    mean, std = channel_statistics(dataset, seed=config.seed)
    stepper = build_stepper(config, 10_000, mean, std, batches=batches)
    with console.status("measuring"):
        speed = measure_speed(stepper, batches, config.workers, seconds)
    log(*speed_lines(config, stepper, speed))
    fractions = {"input_fraction": speed.together.input_fraction, "fraction_of_peak": speed.fraction_of_peak}
    rates = {"step_rate": speed.step_rate, "input_rate": speed.input_rate, "rate": speed.rate}
    return rates | fractions | {"memory": speed.together.memory}
