"""`openjepa evaluate MODEL ... DATA`: what encoders are worth, beside raw pixels and an untrained encoder."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.options import SkippedFraction
from openjepa.config import MAX_SKIPPED

FILES = "Annotations"


def evaluate(
    models: Annotated[list[str], Argument(help="What import takes, pixels, untrained:NAME.", show_default=False)],
    data: Annotated[str, Argument(help="Labelled images: one folder a class, or scenes.", show_default=False)],
    *,
    test: Annotated[str | None, Option(help="Images to test on; without it a fifth of DATA is held out.")] = None,
    tasks: Annotated[
        str,
        Option(
            help="With commas: linear, knn, fewshot, retrieval, probe-appearance, count, distance, depth, segment, "
            "robustness, attentive, finetune, fewshot-finetune."
        ),
    ] = "linear,knn",
    encoder: Annotated[str, Option(help="Of runs and artifacts: target, context or both.")] = "target",
    shots: Annotated[str, Option(help="For fewshot: images a class (10) or a share of them (1%).")] = "1%,10%,10",
    epochs: Annotated[float, Option(help="For finetune: passes over the training images, of 60 steps or more.")] = 10,
    annotations: Annotated[
        str | None, Option(help="Objects of DATA: CLEVR, COCO, VOC or CSV.", rich_help_panel=FILES)
    ] = None,
    depths: Annotated[str | None, Option(help="Depth maps of DATA, by image name.", rich_help_panel=FILES)] = None,
    masks: Annotated[str | None, Option(help="Class masks of DATA, by image name.", rich_help_panel=FILES)] = None,
    test_annotations: Annotated[str | None, Option(help="The same of --test.", rich_help_panel=FILES)] = None,
    test_depths: Annotated[str | None, Option(help="The same of --test.", rich_help_panel=FILES)] = None,
    test_masks: Annotated[str | None, Option(help="The same of --test.", rich_help_panel=FILES)] = None,
    json: Annotated[Path | None, Option(help="File to write the records to.")] = None,
    csv: Annotated[Path | None, Option(help="File to write the numbers to, as a table.")] = None,
    page: Annotated[Path | None, Option(help="File to write a page with charts to (.html).")] = None,
    save_head: Annotated[Path | None, Option(help="Folder to write the last model's linear probe to.")] = None,
    cache: Annotated[Path | None, Option(help="Folder of features computed once. [OPENJEPA_CACHE/features]")] = None,
    seed: Annotated[int, Option(help="Of the splits and draws.")] = 0,
    device: Annotated[str, Option(help="auto (CUDA, then MPS, then CPU) or a device's name.")] = "auto",
    precision: Annotated[str, Option(help="auto (bf16 where the device has it), bf16 or float32.")] = "auto",
    workers: Annotated[int, Option(help="Processes that read images; 0 for none.")] = 2,
    max_skipped: SkippedFraction = MAX_SKIPPED,
) -> list[dict]:
    """Measure encoders on labelled images, always beside raw pixels and an untrained encoder.

    A run that is measured keeps the records in its folder, as evaluation.json, for its report. Returns one record for
    each model, label and task, with the keys model, data, task, metric, value, low, high and protocol; accuracies are
    fractions, low and high their 95 % interval. docs/evaluation.md explains the tasks. Raises UsageError.
    """
    from openjepa.console import log
    from openjepa.device import choose_device
    from openjepa.encoder.feature_cache import FeatureStore
    from openjepa.evaluation.tasks.fewshot import parse_shots
    from openjepa.files import cache_folder, write_output
    from openjepa.process_group import rank
    from openjepa.reports.evaluation import evaluation_page
    from openjepa.runs.evaluation import (
        Files,
        fetch_features,
        find_leaks,
        make_records,
        measure_benches,
        open_parts,
        protocol_of,
    )
    from openjepa.runs.images import check_workers
    from openjepa.runs.measure_models import (
        as_words,
        check_epochs,
        open_models,
        parse_tasks,
        pixel_format_of,
        show_records,
    )
    from openjepa.runs.outputs import Outcomes, make_verdicts, seeds_of_recipes
    from openjepa.training.distributed import joined

    names, data, test = as_words(models, data, test)
    chosen, few, outcomes = parse_tasks(tasks), parse_shots(shots), Outcomes(json, csv, page, save_head)
    check_workers(workers)
    check_epochs(epochs)
    outcomes.check()
    needed = (*chosen, "linear") if save_head else chosen
    files, test_files = Files(annotations, depths, masks), Files(test_annotations, test_depths, test_masks)
    with joined(choose_device(device)):
        opened = open_models(names, device, precision, encoder)
        outcomes.check_models(opened)
        how = pixel_format_of(opened), max_skipped
        train, held_out, named = open_parts(data, test, needed, few, seed, workers, files, test_files, *how)
        store = FeatureStore(Path(cache) if cache else cache_folder("features"), workers)
        settings = {"seed": seed, "shots": few, "epochs": epochs}
        benches = fetch_features(opened, train, held_out, needed, store, **settings)
        helps = rank() > 0
    if helps:
        return []
    leaks = find_leaks(train, held_out, store)
    count = len(train.dataset), len(held_out.dataset)
    log(f"training probes on {count[0]:,} images of {data}, testing on {count[1]:,} of {named}")
    measured = measure_benches(benches, chosen, seeds_of_recipes(names))
    records = make_records(measured, data, protocol_of(train, held_out, named, data, store, leaks))
    show_records(records)
    verdicts = make_verdicts(records, names)
    log(*verdicts)
    outcomes.write(records, verdicts, benches, names)
    if page:
        write_output(Path(page), evaluation_page(records, verdicts))
    return records
