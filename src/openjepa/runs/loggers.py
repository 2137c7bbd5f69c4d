"""Runs logged to Weights & Biases and MLflow, beside metrics.jsonl and TensorBoard's files."""

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from openjepa.console import log
from openjepa.errors import UsageError, unknown
from openjepa.files.writing import usage_error, write_json
from openjepa.optional import require
from openjepa.safety.schema import Schema, parse_json
from openjepa.training.callbacks import Callback, Started

IDS = "loggers.json"
PROJECT = "openjepa"  # unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME names another
LONGEST = 500  # characters of a setting
Id = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]


class Ids(Schema):
    """What a run is called by its loggers, so that they go on with it when it is resumed."""

    wandb: Id | None = None
    mlflow: Id | None = None


class Logger(Callback, ABC):
    """A service that a run is logged to. Where it fails while the run trains, the run goes on without it."""

    name: str
    failed = False
    step, steps = 0, 1  # taken, and in all

    def open(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Begin a log of the run in `folder`, or go on with the one that it has. Raises UsageError."""
        ids = _ids(folder)
        try:
            id = self._open(getattr(ids, self.name), folder, dict(settings))
        except Exception as error:
            raise UsageError(
                f"--log-to {self.name}: {_reason(error)}: correct that and go on with --resume, or leave --log-to out"
            ) from error
        with usage_error(folder):
            write_json(folder / IDS, (ids.model_dump() | {self.name: id}))

    def on_start(self, run: Started) -> None:
        self.step, self.steps = run.step, run.steps

    def on_step(self, step: int, loss: Tensor) -> None:
        self.step = step

    def on_record(self, record: dict[str, Any]) -> None:
        numbers = {name: float(value) for name, value in record.items() if isinstance(value, int | float)}
        step = int(numbers.pop("step"))
        self._try(lambda: self._log(step, numbers))

    def on_end(self) -> None:
        self._try(lambda: self._close(self.step >= self.steps))

    def _try(self, call: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            call()
        except Exception as error:
            self.failed = True
            log(f"{self.name}: {_reason(error)}; the run goes on without it, and metrics.jsonl has all numbers")

    @abstractmethod
    def _open(self, id: str | None, folder: Path, settings: dict[str, str]) -> str:
        """Begin a log, or go on with that of an id; gives its id."""

    @abstractmethod
    def _log(self, step: int, numbers: dict[str, float]) -> None:
        """Log the numbers of a step."""

    @abstractmethod
    def _close(self, finished: bool) -> None:
        """End the log of a run that took all of its steps, or was stopped."""


class Wandb(Logger):
    """Weights & Biases; its own variables, such as WANDB_MODE=offline, apply."""

    name = "wandb"

    def _open(self, id: str | None, folder: Path, settings: dict[str, str]) -> str:
        wandb = require("wandb", "wandb")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        how = {"dir": folder, "resume": "allow", "settings": wandb.Settings(silent=True)}
        self._run = wandb.init(project=project, name=folder.absolute().name, id=id, config=settings, **how)
        self._run.define_metric("*", step_metric="step")  # steps that a resumed run takes again are logged again
        return str(self._run.id)

    def _log(self, step: int, numbers: dict[str, float]) -> None:
        self._run.log({"step": step, **numbers})

    def _close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


class MLflow(Logger):
    """MLflow, at MLFLOW_TRACKING_URI or where MLflow logs without that."""

    name = "mlflow"

    def _open(self, id: str | None, folder: Path, settings: dict[str, str]) -> str:
        mlflow = require("mlflow", "mlflow")
        self._client, self._metric = mlflow.MlflowClient(), mlflow.entities.Metric
        if id is not None:
            self._id = id
            self._client.update_run(id, "RUNNING")
            return id
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self._id = self._client.create_run(experiment, run_name=folder.absolute().name).info.run_id
        params = [mlflow.entities.Param(key, value) for key, value in settings.items()]
        self._client.log_batch(self._id, params=params)
        return str(self._id)

    def _log(self, step: int, numbers: dict[str, float]) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(self._id, [self._metric(name, value, now, step) for name, value in numbers.items()])

    def _close(self, finished: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


LOGGERS: dict[str, type[Logger]] = {each.name: each for each in (Wandb, MLflow)}


def parse_loggers(names: str) -> list[Logger]:
    """The loggers of a list such as "wandb,mlflow". Raises UsageError for an unknown name or a missing package."""
    found = []
    for name in dict.fromkeys(filter(None, (part.strip() for part in names.split(",")))):
        if name not in LOGGERS:
            raise UsageError(unknown("--log-to", name, LOGGERS))
        require(name, name)
        found.append(LOGGERS[name]())
    return found


def open_loggers(loggers: list[Logger], folder: Path, settings: Mapping[str, Any]) -> None:
    """Begin their logs of the run in `folder`, or go on with those that it has. Raises UsageError."""
    said = {name: str(value)[:LONGEST] for name, value in settings.items() if value is not None}
    for number, logger in enumerate(loggers):
        try:
            logger.open(folder, said)
        except UsageError:
            for opened in loggers[:number]:
                opened.on_end()
            raise


def _ids(folder: Path) -> Ids:
    with contextlib.suppress(FileNotFoundError):
        return parse_json((folder / IDS).read_bytes(), Ids, str(folder / IDS), "delete it to begin new logs")
    return Ids()


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
