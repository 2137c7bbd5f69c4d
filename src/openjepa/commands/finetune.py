"""`openjepa finetune MODEL DATA --out DIR`: the whole encoder and a head trained on labelled images."""

import os
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.arguments.options import Device, Precision, SkippedFraction, Workers
from openjepa.config import MAX_SKIPPED
from openjepa.data.open import Given, as_source, names_of
from openjepa.device import choose_device, choose_precision
from openjepa.errors import UsageError
from openjepa.files import check_outside
from openjepa.files.lock import locked
from openjepa.files.path_arguments import checks_paths
from openjepa.interop.open_model import open_model
from openjepa.runs.command_line import resume_same_command
from openjepa.runs.finetuning import images, start
from openjepa.runs.finetuning.results import write_results
from openjepa.runs.finetuning.settings import WEIGHTS, Tuning
from openjepa.runs.images import count_workers

TRAIN, IMAGES = "Training", "Images"


@checks_paths
def finetune(
    model: Annotated[
        str,
        Argument(
            help="A run, an artifact, a ViT of timm or transformers, anything that import takes, or untrained:NAME.",
            show_default=False,
        ),
    ],
    data: Annotated[
        Given, Argument(help="Labelled images: one folder a class, or a table with columns.", show_default=False)
    ],
    *,
    out: Annotated[Path, Option(help="Folder to write to.", show_default=False)],
    resume: Annotated[
        bool, Option("--resume", help="Continue in --out from the last checkpoint; give the same command.")
    ] = False,
    labels: Annotated[
        str | None,
        Option(
            help="Column to learn, or several of 0 and 1, or of numbers, separated by commas; left out, the only one."
        ),
    ] = None,
    regression: Annotated[
        bool, Option("--regression", help="Learn numbers, where the column could also be classes.")
    ] = False,
    validation: Annotated[
        Given | None,
        Option(
            help="Images to choose the best step on; left out, a fifth of DATA, at most 5,000.", rich_help_panel=IMAGES
        ),
    ] = None,
    test: Annotated[
        Given | None,
        Option(help="Images to test on at the end; left out, those of the validations.", rich_help_panel=IMAGES),
    ] = None,
    flip: Annotated[
        bool,
        Option("--flip", help="Mirror half of the crops, where left and right mean the same.", rich_help_panel=IMAGES),
    ] = False,
    crop_scale: Annotated[
        tuple[float, float],
        Option(
            help="Range of the area of random crops, as fractions of the image.",
            metavar="<from> <to>",
            rich_help_panel=IMAGES,
        ),
    ] = (0.6, 1.0),
    epochs: Annotated[
        float | None,
        Option(help="Passes over the training images, of 60 steps or more; 30 without --time.", rich_help_panel=TRAIN),
    ] = None,
    time: Annotated[
        str | None,
        Option(help="Train at most this long, as 90s, 10m or 2h; resolved once to steps.", rich_help_panel=TRAIN),
    ] = None,
    patience: Annotated[
        int, Option(help="Stop after so many validations without improvement; 0: never.", rich_help_panel=TRAIN)
    ] = 10,
    batch_size: Annotated[int, Option(help="Images a step.", rich_help_panel=TRAIN)] = 64,
    lr: Annotated[float, Option(help="Peak learning rate of the head.", rich_help_panel=TRAIN)] = 1e-3,
    layer_decay: Annotated[
        float, Option(help="Factor by which each block further down trains slower.", rich_help_panel=TRAIN)
    ] = 0.75,
    weight_decay: Annotated[float, Option(help="Of AdamW.", rich_help_panel=TRAIN)] = 0.05,
    warmup: Annotated[
        float, Option(help="Fraction of the steps in which the rate rises.", rich_help_panel=TRAIN)
    ] = 0.1,
    freeze: Annotated[
        int, Option(help="So many first blocks, with the patch embedding, do not train.", rich_help_panel=TRAIN)
    ] = 0,
    label_smoothing: Annotated[
        float | None,
        Option(
            help="Part of each answer that is spread over the others; left out, 0.1 of classes and 0 of tags.",
            rich_help_panel=TRAIN,
        ),
    ] = None,
    mixup: Annotated[float, Option(help="Alpha of mixup; 0: none.", rich_help_panel=TRAIN)] = 0.0,
    class_weights: Annotated[
        str,
        Option(
            help=f"Weights of the classes in the loss: {', '.join(WEIGHTS)} (all classes count alike).",
            rich_help_panel=TRAIN,
        ),
    ] = "none",
    seed: Annotated[int, Option(help="Of the split, the order and the crops.")] = 0,
    onnx: Annotated[bool, Option("--onnx", help="Write the folder onnx too.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
) -> Path:
    """Train a whole encoder and a head on labelled images, early blocks slower than late ones.

    The column decides what is learnt: classes (folders, or a column of names), tags (several names in a cell with | or
    ; between them, or several columns of 0 and 1), or numbers. Images without the label are left out. The weights that
    did best on the validation images are kept.

    Writes a folder: model/ (opens with predict, export and embed, and with transformers, or timm for a network of
    timm), predictions.csv (of the held-out images), metrics.jsonl, checkpoints/, finetuning.json and, with --onnx,
    onnx/.

    Returns the folder. Raises UsageError.
    """
    out, source = Path(out), as_source(data)
    held, tested = (None if each is None else as_source(each) for each in (validation, test))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("finetune runs in one process: start it without torchrun")
    readers = count_workers(workers, device)
    check_outside(out, names_of(source, held, tested))
    tuning = Tuning(
        labels=tuple(name.strip() for name in labels.split(",")) if labels else (),
        regression=regression,
        epochs=epochs,
        time=time,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        layer_decay=layer_decay,
        warmup=warmup,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        mixup=mixup,
        freeze=freeze,
        flip=flip,
        crop_scale=crop_scale,
        patience=patience,
        seed=seed,
        precision=precision,
    )
    where = choose_device(device)
    with locked(out):
        wanted, stored = start.stored_precision(out, resume, precision)
        encoder = start.tunable(open_model(str(model), where, choose_precision(wanted, where)), str(model))
        given = images.Given(source, held, tested, max_skipped, readers)
        if stored:
            started = start.resume(out, encoder, given, tuning, stored)
        else:
            started = start.start(out, encoder, given, tuning)
        started.train(resume_same_command())
        write_results(started, onnx)
    return out
