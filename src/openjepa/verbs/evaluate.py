"""`openjepa evaluate MODEL ... DATA`: what encoders are worth, beside raw pixels and an untrained encoder."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def evaluate(
    models: Annotated[list[str], Argument(help="Runs, artifacts, pixels or untrained:NAME.", show_default=False)],
    data: Annotated[str, Argument(help="Labelled images: one folder a class, or scenes.", show_default=False)],
    *,
    test: Annotated[str | None, Option(help="Images to test on; without it a fifth of DATA is held out.")] = None,
    tasks: Annotated[str, Option(help="linear, knn, or both with a comma.")] = "linear,knn",
    json: Annotated[Path | None, Option(help="File to write the records to.")] = None,
    seed: Annotated[int, Option(help="Of the splits.")] = 0,
    device: Annotated[str, Option(help="auto (CUDA, then MPS, then CPU) or a device's name.")] = "auto",
    precision: Annotated[str, Option(help="auto (bf16 where the device has it), bf16 or float32.")] = "auto",
    workers: Annotated[int, Option(help="Processes that read images; 0 for none.")] = 2,
) -> list[dict]:
    """Measure encoders on labelled images, always beside raw pixels and an untrained encoder.

    Returns one record for each model, label and task, with the keys model, data, task, metric, value, low, high and
    protocol; accuracies are fractions, low and high their 95 % interval. Raises UsageError.
    """
    from openjepa.verbs.measure import measure_models, open_models, parse_tasks, show_records, write_records

    chosen = parse_tasks(tasks)
    opened = open_models([models] if isinstance(models, str) else list(models), device, precision)
    records = measure_models(opened, data, test, chosen, seed, workers)
    show_records(records)
    if json:
        write_records(json, records)
    return records
