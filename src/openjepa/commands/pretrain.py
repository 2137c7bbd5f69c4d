"""`openjepa pretrain DATA --out RUN`: an encoder trained on a person's own images."""

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from openjepa.commands.options import Data, with_settings


@with_settings
def pretrain(
    data: Data,
    *,
    out: Annotated[Path, Option(help="Folder to write the run to.", show_default=False)],
    recipe: Annotated[
        str | None,
        Option(help="Named settings: laptop, small, paper or reference; left out, images, device and time decide."),
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with the run in --out from its last checkpoint.")] = False,
    parallel: Annotated[
        str,
        Option(
            help="Under torchrun: ddp (networks whole in every process), fsdp (shared out) or auto (by memory).",
            rich_help_panel="Machine",
        ),
    ] = "auto",
    **settings: Any,
) -> Path:
    """Train an encoder on unlabelled images, from nothing or, with --init, from weights that are there.

    Several processes train one run under torchrun, whose results do not depend on their number (docs/scaling.md).

    Writes a run folder: encoder/ (the artifact), report.html, metrics.jsonl, tensorboard/, checkpoints/, config.json.
    Returns the run folder. Raises UsageError for every mistake that a person can mend.
    """
    from openjepa.commands.report import report
    from openjepa.config import build_config, unknown
    from openjepa.device import choose_device
    from openjepa.errors import UsageError
    from openjepa.recipes import CONTINUED
    from openjepa.recipes import recipe as settings_of
    from openjepa.runs.images import settler
    from openjepa.runs.start import resume_run, start_run
    from openjepa.training.distributed import PARALLEL, is_restart, joined, on_rank_zero

    data, out = str(data), Path(out)
    base = settings_of(recipe or "laptop", settings) | (CONTINUED if settings.get("init") else {})
    config = build_config(base, settings)
    if parallel not in PARALLEL:
        raise UsageError(unknown("--parallel", parallel, PARALLEL))
    with joined(choose_device(config.device)):
        if resume or on_rank_zero(lambda: is_restart() and (out / "config.json").is_file()):
            run = resume_run(data, out, config, settings, parallel)
        else:
            settle = None if recipe or config.init else settler(settings)
            run = start_run(data, out, config, settings, settle, parallel)
        run.train("pretrain", data)
        run.finish()
        on_rank_zero(lambda: report(out))
    return out
