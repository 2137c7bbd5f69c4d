"""`openjepa evaluate MODEL ... DATA`: measure encoders, beside raw pixels and an untrained encoder."""

import os
from pathlib import Path
from typing import Annotated

from torch import nn
from typer import Argument, Option

from openjepa.commands.arguments.fields import PythonOnly
from openjepa.commands.arguments.options import (
    Crops,
    Device,
    Overwrite,
    Pooling,
    Precision,
    SkippedFraction,
    Step,
    Workers,
    Xlsx,
)
from openjepa.config import MAX_SKIPPED, check_value
from openjepa.console import log
from openjepa.data.open import Given, as_source
from openjepa.device import choose_device
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.errors import UsageError
from openjepa.evaluation import run_tasks
from openjepa.evaluation.session import Session
from openjepa.evaluation.tasks.fewshot import parse_shots
from openjepa.evaluation.tasks.registry import TASKS
from openjepa.files import cache_folder, check_outside, write_output
from openjepa.files.path_arguments import checks_paths
from openjepa.interop.heads import quantity_of
from openjepa.ranks import on_rank_zero, rank
from openjepa.runs import evaluation as evaluating
from openjepa.runs.checkpoints import find_steps, label_at
from openjepa.runs.ensembles import gain_lines, with_crops
from openjepa.runs.evaluation import Files, Images
from openjepa.runs.images import count_workers
from openjepa.runs.outputs import Outputs, make_verdicts, runs_by_seed, show_records
from openjepa.training.distributed import joined

FILES = "Annotations"
MOST_EPOCHS = 100_000
TASK_LIST = "\n".join(["Separated by commas:", *(f"{task.name:<17} {task.help}" for task in TASKS.values())])


@checks_paths
def evaluate(
    models: Annotated[
        list[str], Argument(help="Runs, models of timm or transformers, pixels, or untrained:NAME.", show_default=False)
    ],
    data: Annotated[Given, Argument(help="Labelled images: one folder a class, or scenes.", show_default=False)],
    *,
    test: Annotated[Given | None, Option(help="Images to test on; without it a fifth of DATA is held out.")] = None,
    tasks: Annotated[str, Option(help=TASK_LIST)] = "linear,knn",
    step: Step = None,
    encoder: Annotated[str, Option(help="Of runs and artifacts: target, context or both.")] = "target",
    shots: Annotated[str, Option(help="For fewshot: images a class (10) or a percentage of them (1%).")] = "1%,10%,10",
    epochs: Annotated[float, Option(help="For finetune: passes over the training images, of 60 steps or more.")] = 10,
    annotations: Annotated[
        str | None, Option(help="Objects of DATA: CLEVR, COCO, VOC or CSV.", rich_help_panel=FILES)
    ] = None,
    kind: Annotated[str | None, Option(help="Count objects of this kind alone.", rich_help_panel=FILES)] = None,
    depths: Annotated[str | None, Option(help="Depth maps of DATA, by image name.", rich_help_panel=FILES)] = None,
    masks: Annotated[str | None, Option(help="Class masks of DATA, by image name.", rich_help_panel=FILES)] = None,
    test_annotations: Annotated[str | None, Option(help="The same of --test.", rich_help_panel=FILES)] = None,
    test_depths: Annotated[str | None, Option(help="The same of --test.", rich_help_panel=FILES)] = None,
    test_masks: Annotated[str | None, Option(help="The same of --test.", rich_help_panel=FILES)] = None,
    json: Annotated[Path | None, Option(help="File to write the records to.")] = None,
    csv: Annotated[Path | None, Option(help="File to write the numbers to, as a table.")] = None,
    xlsx: Xlsx = None,
    page: Annotated[Path | None, Option(help="File to write a page with charts to (.html).")] = None,
    save_head: Annotated[
        Path | None, Option(help="Folder for a head of the last model: classes, count or distance.")
    ] = None,
    pooling: Pooling = "auto",
    crops: Crops = None,
    cache: Annotated[
        Path | None, Option(help="Folder of computed features; left out, OPENJEPA_CACHE/features.")
    ] = None,
    verify: Annotated[
        bool, Option("--verify", help="Read all images again to recognise them, also unchanged files.")
    ] = False,
    seed: Annotated[int, Option(help="Of the splits and draws.")] = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: Overwrite = False,
    network: Annotated[nn.Module | None, PythonOnly()] = None,
) -> list[dict]:
    """Measure encoders on labelled images, always beside raw pixels and an untrained encoder.

    The records of a run are kept in its folder, as evaluation.json (of a --step, evaluation-step-NUMBER.json), for its
    report. docs/evaluation.md explains the tasks. An ensemble is measured beside its members, and with --crops each
    encoder also by the mean over crops of each image, with the gain and the cost.

    In Python `network` opens runs that trained an `nn.Module` of a program: one of the same class, which stays as it
    is.

    Returns one record for each model, label and task, with the keys model, data, task, metric, value, low, high and
    protocol; accuracies are fractions, low and high their 95 % interval. Raises UsageError.
    """
    names = [str(name) for name in dict.fromkeys([models] if isinstance(models, str | os.PathLike) else models)]
    chosen, few = evaluating.parse_tasks(tasks), parse_shots(shots)
    outputs = Outputs(*(None if path is None else Path(path) for path in (json, csv, xlsx, page, save_head)))
    readers = count_workers(workers, device)
    check_value("seed", seed)
    if not 0 < epochs <= MOST_EPOCHS:
        raise UsageError(f"--epochs {epochs:g} is not possible: give more than 0, and at most {MOST_EPOCHS:,}")
    needed = chosen
    if save_head and not any(quantity_of(name) for name in chosen):
        needed = (*chosen, "linear")
    files, test_files = Files(annotations, depths, masks, kind), Files(test_annotations, test_depths, test_masks, kind)
    images = Images(as_source(data), None if test is None else as_source(test), files, test_files, max_skipped)
    outputs.check([*names, *images.targets()], images.sources(), overwrite)
    kept = Path(cache) if cache else cache_folder("features")
    check_outside(kept, images.sources())
    with joined(choose_device(device)):
        steps = on_rank_zero(lambda: find_steps(names, step))
        labels = {name: label_at(name, steps.get(name)) for name in names}
        opened = evaluating.open_models(names, device, precision, encoder, steps, pooling, network)
        outputs.check_models(opened)
        opened = with_crops(opened, crops)
        run_tasks.check_models(opened, needed)
        first = evaluating.first_encoder(opened)
        train, held_out, named = images.open(needed, seed, readers, first or opened[0])
        store = FeatureStore(kept, readers, verify)
        patches = evaluating.patches_of(opened)
        left_out = evaluating.unmeasured(train, held_out)
        sessions = [
            Session(model, train, held_out, store, seed, few, epochs, patches, unmeasured=left_out) for model in opened
        ]
        evaluating.fetch_features(sessions, needed)
        helps = rank() > 0
    if helps:
        return []
    images.check_readable(store, train, held_out)
    leaks = evaluating.find_leaks(train, held_out, store)
    count = len(train.dataset), len(held_out.dataset)
    log(f"training probes on {count[0]:,} images of {images.data}, testing on {count[1]:,} of {named}")
    measured = evaluating.measure(sessions, chosen, [[labels[name] for name in runs] for runs in runs_by_seed(names)])
    about = evaluating.about_data(str(images.data), named, sessions[0], leaks)
    records = evaluating.make_records(measured, str(images.data), about)
    show_records(records)
    verdicts = make_verdicts(records, [*labels.values()])
    log(*verdicts, *gain_lines(records, opened))
    if outputs.page:
        from openjepa.reports.evaluation_page import evaluation_page  # with matplotlib, which loads for a second

        write_output(outputs.page, evaluation_page(records, verdicts))
    outputs.write(records, sessions, names, needed, steps)  # the head last: where it is there, so is all else
    return records
