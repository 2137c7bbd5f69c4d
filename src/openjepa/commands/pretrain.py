"""`openjepa pretrain DATA --out RUN`: an encoder trained on your own images."""

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from openjepa.commands.arguments.options import Data, Recipe, Settings
from openjepa.commands.report import report
from openjepa.data.open import as_source
from openjepa.device import choose_device
from openjepa.errors import UsageError, unknown
from openjepa.files.lock import locked
from openjepa.recipe_settings import config_of
from openjepa.runs.command_line import resume_command
from openjepa.runs.images import settler
from openjepa.runs.start import resume_run, start_run
from openjepa.training.distributed import PARALLEL, is_restart, joined, on_rank_zero

SETTINGS = Settings()


def pretrain(
    data: Data,
    *,
    out: Annotated[Path, Option(help="Folder to write the run to.", show_default=False)],
    recipe: Recipe = None,
    resume: Annotated[bool, Option("--resume", help="Continue the run in --out from its last checkpoint.")] = False,
    parallel: Annotated[
        str,
        Option(
            help="Under torchrun: ddp (every process holds the networks), fsdp (they are divided) or auto (by memory)."
        ),
    ] = "auto",
    **settings: Annotated[Any, SETTINGS],
) -> Path:
    """Train an encoder on unlabelled images, from nothing or, with --init, from existing weights.

    Without --recipe, the images, the device and the time choose one; a value marked "recipe" is that of laptop. The
    results do not depend on the number of processes under torchrun (docs/scaling.md).

    Writes a run folder: encoder/ (the artifact), report.html, metrics.jsonl, tensorboard/, checkpoints/, config.json.

    In Python `data` is also a sequence of images, as `openjepa.as_dataset` describes.

    Returns the run folder. Raises UsageError for every input that the user can correct. `settings` are the fields of
    `openjepa.config.Config`.
    """
    source, out, settings = as_source(data), Path(out), SETTINGS.given(settings)
    config = config_of(recipe, settings)
    if parallel not in PARALLEL:
        raise UsageError(unknown("--parallel", parallel, PARALLEL))
    with joined(choose_device(config.device)), locked(out):
        if resume or on_rank_zero(lambda: is_restart() and (out / "config.json").is_file()):
            run = resume_run(source, out, config, settings, parallel, recipe)
        else:
            settle = None if config.init else settler(settings, recipe)
            run = start_run(source, out, config, settings, settle, parallel, recipe)
        run.train(resume_command(source, out))
        run.finish()
        where: dict[str, Any] = {"device": config.device} if settings.get("device") is not None else {}
        on_rank_zero(lambda: report(out, data=source, **where))
    return out
