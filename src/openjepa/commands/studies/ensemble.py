"""`openjepa ensemble MODEL MODEL ... --how HOW --out DIR`: several models made one."""

import os
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.arguments.options import Device, OverwriteFolder, Precision, SkippedFraction, Workers
from openjepa.config import MAX_SKIPPED, check_value
from openjepa.data.open import Given, as_source
from openjepa.files.path_arguments import checks_paths
from openjepa.studies.ensemble.make import HOW, make_ensemble
from openjepa.studies.ensemble.request import Request

HOW_LIST = "\n".join([*(f"{name:<9} {how.help}" for name, how in HOW.items())])


@checks_paths
def ensemble(
    models: Annotated[
        list[str], Argument(help="Runs, artifacts, weights that import takes; for probes, heads.", show_default=False)
    ],
    *,
    how: Annotated[str, Option(help=HOW_LIST, show_default=False)],
    out: Annotated[Path, Option(help="Folder to write to.", show_default=False)],
    data: Annotated[
        Given | None, Option(help="Images to measure on; greedy and probes need labels.", show_default=False)
    ] = None,
    steps: Annotated[
        str | None, Option(help="Of each run, the encoders after these steps, as 1000,2000,last.", show_default=False)
    ] = None,
    encoder: Annotated[str, Option(help="Encoders of each model: target, context or both.")] = "target",
    width: Annotated[
        int | None, Option(help="Of concat: numbers to project the features on.", show_default=False)
    ] = None,
    seed: Annotated[int, Option(help="Of the images that are drawn.")] = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: OverwriteFolder = False,
) -> Path:
    """Make one model of several.

    A soup is the mean of the weights of models that come from one start, such as runs with --init of one encoder, or
    checkpoints of one run: an artifact as any other, that costs no more than one model. Models of different starts are
    refused: the loss on the line between their weights is measured on --data. With --how greedy a model joins only
    where the accuracy on a held-out third of labelled --data does not fall by it.

    With --how concat the features of any models that see images alike stand side by side, scaled so that each counts
    the same; --width projects them on their first principal components. With --how probes the probabilities of heads
    are averaged, which predict takes. Both are folders that hold a copy of every member, and that evaluate, embed,
    index and export --to onnx take; evaluate measures the members too, with the gain and the cost.

    Returns the folder. Raises UsageError.
    """
    names = [str(name) for name in ([models] if isinstance(models, str | os.PathLike) else models)]
    check_value("seed", seed)
    asked = tuple(step.strip() for step in str(steps).split(",") if step.strip()) if steps is not None else ()
    source = None if data is None else as_source(data)
    machine = seed, device, precision, workers, max_skipped, overwrite
    return make_ensemble(Request(names, how, Path(out), source, asked, encoder, width, *machine))
