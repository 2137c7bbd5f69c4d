"""`openjepa pretrain DATA --out RUN`: an encoder trained on your own images."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import pyarrow as pa
import torch
from torch import nn
from typer import Option

from openjepa.commands.arguments.fields import PythonOnly
from openjepa.commands.arguments.options import Data, Recipe, Settings
from openjepa.commands.report import report, report_at_end
from openjepa.config import Config
from openjepa.console import log, took
from openjepa.data.open import DataSource, Given, as_source
from openjepa.device import algorithms_restored, choose_device, choose_precision
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError, unknown
from openjepa.files.lock import locked
from openjepa.files.path_arguments import checks_paths
from openjepa.interop.foreign.trainable import from_module
from openjepa.methods.base import Method
from openjepa.recipe_settings import config_of
from openjepa.runs.checkpoints import load_encoder_at
from openjepa.runs.command_line import resume_command
from openjepa.runs.folder import RUNS, check_run
from openjepa.runs.images import settler
from openjepa.runs.loggers import open_loggers, parse_loggers
from openjepa.runs.planning.own_classes import OwnModel, use_method
from openjepa.runs.resuming.resume import resume_run
from openjepa.runs.settings import CONFIG, StoredRun, read_config
from openjepa.runs.start import start_run
from openjepa.training.callbacks import Callback, Callbacks
from openjepa.training.checkpoint import checkpoint_steps
from openjepa.training.distributed import PARALLEL, is_restart, joined, on_rank_zero
from openjepa.training.monitoring.metrics_log import metrics_table, read_metrics

if TYPE_CHECKING:
    from openjepa import TrainingSettings

SETTINGS = Settings()


class Run:
    """A run in its folder, finished or not. It can be given wherever a path of a run can."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: DataSource | None = None,
        probe: DataSource | None = None,
        method: type[Method] | None = None,
        model: nn.Module | None = None,
    ) -> None:
        """What it was trained with, where it is known; `method` and `model` where a program gave them."""
        self.folder, self._data, self._probe = Path(folder), data, probe
        self._own: dict[str, Any] = {"method": method} if method else {}
        self._own |= {"model": model} if model is not None else {}

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        try:
            return f"Run({str(self.folder)!r}, step {self.done} of {self.steps}, {self.status})"
        except UsageError:  # the folder is gone or damaged
            return f"Run({str(self.folder)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.folder.absolute() == other.folder.absolute()

    def __hash__(self) -> int:
        return hash(self.folder.absolute())

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:
        return self.folder / name

    def stored(self) -> tuple[Config, StoredRun]:
        check_run(self.folder)
        return read_config(self.folder / CONFIG, RUNS)

    @property
    def config(self) -> Config:
        """The settings of the run; `dataclasses.asdict` makes a dict of them."""
        return self.stored()[0]

    @property
    def steps(self) -> int:
        """The length of the whole run."""
        return self.stored()[1].steps

    @property
    def done(self) -> int:
        """Steps taken, as the newest checkpoint has them."""
        return max(checkpoint_steps(self.folder / "checkpoints"), default=0)

    @property
    def finished(self) -> bool:
        """Whether the run has taken all its steps, also those that it was extended by, and written its encoder."""
        return (self.folder / "encoder").is_dir() and self.done >= self.steps

    @property
    def status(self) -> str:
        """The latest verdict in a word or two, such as healthy, weak or collapsed; "" before the first."""
        return self._last("status")

    @property
    def verdict(self) -> str:
        """The latest verdict, a sentence; "" before the first."""
        return self._last("verdict")

    def _last(self, name: str) -> str:
        return next((record[name] for record in reversed(read_metrics(self.folder)) if name in record), "")

    def metrics(self) -> pa.Table:
        """The log as a table, a row for each record: `step` int64, `status` and `verdict` text, all else float64."""
        return metrics_table(self.folder)

    def encoder(
        self,
        which: str = "target",
        *,
        step: int | str | None = None,
        device: str | torch.device = "cpu",
        precision: str | torch.dtype = torch.float32,
        image_size: tuple[int, int] | None = None,
        model: nn.Module | None = None,
    ) -> Encoder:
        """The target or context encoder: of the end of the run, or of its last checkpoint while it is not finished.

        `step` names another checkpoint that is kept: its number, last, best or best-MONITOR. Other keywords are those
        of `openjepa.load_encoder`; `model` can be left out of the run that `pretrain(model=...)` gave. Raises
        UsageError.
        """
        where, network = choose_device(device), self._own.get("model") if model is None else model
        chosen = "last" if step is None and not self.finished else step
        how = where, choose_precision(precision, where), which, image_size, network
        return load_encoder_at(str(self), chosen, *how)

    def report(self, *, data: Given | None = None, device: str = "auto", show: list[str] | None = None) -> Path:
        """Write report.html, with the images of the run where they are known; returns the page. UsageError."""
        images = self._data if data is None else data
        return report(self.folder, data=images, device=device, show=show, network=self._own.get("model"))

    def resume(
        self,
        data: Given | None = None,
        *,
        recipe: str | None = None,
        probe: Given | None = None,
        data_changed: bool = False,
        parallel: str = "auto",
        callbacks: Sequence[Callback] = (),
        **settings: "Unpack[TrainingSettings]",
    ) -> "Run":
        """Continue from the last checkpoint, as `pretrain(data, out=run.folder, resume=True)` with the same keywords.

        `data` must be given for a run that `open_run` opened, and `method` and `model` where they were classes or
        networks of a program; they are the same as before. Raises UsageError.
        """
        images = self._data if data is None else data
        if images is None:
            raise UsageError(f"the images of {self.folder} are not known here: give them, as run.resume(images)")
        how: dict[str, Any] = {"recipe": recipe, "data_changed": data_changed, "parallel": parallel}
        how |= {"probe": self._probe if probe is None else probe, "callbacks": callbacks}
        return pretrain(images, out=self.folder, resume=True, **how, **self._own | {**settings})


@checks_paths
def open_run(folder: str | os.PathLike[str]) -> Run:
    """The run in a folder that `pretrain` or `demo` wrote. Raises UsageError if there is none, or it is damaged."""
    run = Run(folder)
    run.stored()
    return run


def own_objects(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], OwnModel | None]:
    """`method` and `model` that are no names, the settings with the names of their classes, and the network."""
    own = {name: settings[name] for name in ("method", "model") if not isinstance(settings.get(name), str | None)}
    if isinstance(own.get("model"), nn.Module) and (network := from_module(own["model"])):
        own["model"] = network
    model = OwnModel.of(own["model"]) if "model" in own else None
    settings = settings | (model.settings(settings) if model else {})
    return own, settings | ({"method": use_method(own["method"])} if "method" in own else {}), model


@checks_paths
def pretrain(
    data: Data,
    *,
    out: Annotated[Path, Option(help="Folder to write the run to.", show_default=False)],
    recipe: Recipe = None,
    resume: Annotated[bool, Option("--resume", help="Continue the run in --out from its last checkpoint.")] = False,
    probe: Annotated[
        Given | None,
        Option(help="Labelled images for the probes during the run, where DATA has no labels; no training uses them."),
    ] = None,
    data_changed: Annotated[
        bool,
        Option("--data-changed", help="With --resume: go on with DATA although its images are others than before."),
    ] = False,
    parallel: Annotated[
        str,
        Option(
            help="Under torchrun: ddp (every process holds the networks), fsdp (they are divided) or auto (by memory)."
        ),
    ] = "auto",
    log_to: Annotated[
        str,
        Option(help="Also log to wandb, mlflow or both (wandb,mlflow), as their own settings say.", show_default=False),
    ] = "",
    callbacks: Annotated[Sequence[Callback], PythonOnly()] = (),
    **settings: Annotated[Any, SETTINGS],
) -> Run:
    """Train an encoder on unlabelled images, from nothing or, with --init, from existing weights.

    Without --recipe, the images, the device and the time choose one; a value marked "recipe" is that of laptop. The
    results do not depend on the number of processes under torchrun (docs/scaling.md).

    With --resume another --steps, --epochs or --time, of the whole run, extends or shortens it; the learning rate and
    other schedules are planned anew from here (docs/runs.md).

    Writes a run folder: encoder/ (the artifact), report.html, metrics.jsonl, tensorboard/, checkpoints/, config.json.

    In Python `data` is also a sequence of images, as `openjepa.as_dataset` describes; `method` is also a class derived
    from `openjepa.Method`, and `model` a vision transformer of timm or transformers, or an `nn.Module` that keeps the
    protocol `openjepa.PatchEncoder`.

    Returns the `Run`, which a callback may have stopped before its last step. `callbacks` are objects derived from
    `openjepa.Callback`. `settings` are the fields of `openjepa.config.Config`. Raises UsageError for every input that
    the user can correct, CallbackFailed after an exception in a callback, and KeyboardInterrupt after Ctrl-C.
    """
    begun = time.monotonic()
    loggers = parse_loggers(log_to)
    source, out, told = as_source(data), Path(out), Callbacks([*callbacks, *loggers])
    own, given, model = own_objects(settings)
    settings = SETTINGS.given(given)
    config, probed = config_of(recipe, settings), None if probe is None else as_source(probe)
    if data_changed and not resume:
        raise UsageError("--data-changed goes with --resume: leave it out to start a run")
    if parallel not in PARALLEL:
        raise UsageError(unknown("--parallel", parallel, PARALLEL))
    with joined(choose_device(config.device)), locked(out), algorithms_restored():
        if resume or on_rank_zero(lambda: is_restart() and (out / "config.json").is_file()):
            run = resume_run(source, out, config, settings, parallel, recipe, data_changed, probed, model)
        else:
            settle = None if config.init else settler(settings, recipe)
            run = start_run(source, out, config, settings, settle, parallel, recipe, probed, model)
        on_rank_zero(lambda: open_loggers(loggers, out, asdict(run.config)))
        started = time.monotonic()
        named = source if isinstance(source, str) else None
        again = resume_command(named, out, config, None if probed is None else str(probed), log_to=log_to)
        if run.train(again, told):
            training = time.monotonic() - started
            run.finish()
            where: dict[str, Any] = {"device": config.device} if settings.get("device") is not None else {}
            on_rank_zero(lambda: report_at_end(out, source, own.get("model"), **where))
            on_rank_zero(lambda: log(took(begun, training)))
    return Run(out, source, probed, **own)
