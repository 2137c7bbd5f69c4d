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

    A run that is measured keeps the records in its folder, as evaluation.json, for its report. Returns one record for
    each model, label and task, with the keys model, data, task, metric, value, low, high and protocol; accuracies are
    fractions, low and high their 95 % interval. Raises UsageError.
    """
    from openjepa.verbs.measure import (
        is_run,
        measure_models,
        open_models,
        open_split,
        parse_tasks,
        show_records,
        write_records,
    )
    from openjepa.verbs.prepare import check_can_write, check_workers

    chosen = parse_tasks(tasks)
    check_workers(workers)
    names = [str(models)] if isinstance(models, str | Path) else [str(name) for name in models]
    data, test = str(data), None if test is None else str(test)
    if json:
        check_can_write(Path(json))
    opened = open_models(names, device, precision)
    train, held_out, named = open_split(data, test, seed, workers)
    records = measure_models(opened, train, held_out, chosen, seed, workers, {"train": data, "test": named})
    show_records(records)
    for path in ([Path(json)] if json else []) + [Path(name) / "evaluation.json" for name in names if is_run(name)]:
        write_records(path, records)
    return records
