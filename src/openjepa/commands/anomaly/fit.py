"""`openjepa anomaly fit MODEL NORMALS --out DETECTOR`: what normal images look like to a model."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.fitting.lighting import choose_lighting
from openjepa.anomaly.labelled import normals_in
from openjepa.anomaly.memory import CORESETS, PATCHES
from openjepa.anomaly.patches import PatchSettings, check_pool
from openjepa.anomaly.scorer import SCORES
from openjepa.commands.arguments.options import Device, OverwriteFolder, Precision, SkippedFraction, Step, Workers
from openjepa.config import MAX_SKIPPED, normal
from openjepa.config import image_size as parsed_size
from openjepa.console import counting, log
from openjepa.data.open import Given, as_source, names_of
from openjepa.data.proportions import seen_lines
from openjepa.data.storage.storage import files_in, skipped_lines
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.files.path_arguments import checks_paths
from openjepa.runs.detectors import (
    check_any_orientation,
    check_coreset,
    check_layers,
    energies_for,
    open_patch_model,
    parse_rate,
    parse_scores,
    save_detector,
    size_lines,
    where_it_is,
)
from openjepa.runs.images import check_new_artifact, check_skipped, count_workers, open_images

SCORE_LIST = "\n".join(
    [
        "Separated by commas; left out, memory,density,pixels, or memory,pixels with --any-orientation:",
        *(f"{name:<8} {what}" for name, what in SCORES.items()),
    ]
)


@checks_paths
def anomaly_fit(
    model: Annotated[str, Argument(help="A run, an artifact, or a model of timm or transformers.", show_default=False)],
    normals: Annotated[
        Given, Argument(help="Normal images, or a folder in the layout of MVTec AD.", show_default=False)
    ],
    *,
    out: Annotated[Path, Option(help="Folder for the detector.", show_default=False)],
    false_alarms: Annotated[
        str | None,
        Option(help="Set a threshold that at most this part of normal images exceeds, such as 1%.", show_default=False),
    ] = None,
    scores: Annotated[str | None, Option(help=SCORE_LIST, show_default=False)] = None,
    any_orientation: Annotated[
        bool,
        Option("--any-orientation", help="Parts lie in any orientation: also remember normal images turned by 90°."),
    ] = False,
    any_light: Annotated[
        bool,
        Option(
            "--any-light/--no-any-light",
            help="Also remember normal images brighter, darker, and with other contrast and colours.",
        ),
    ] = True,
    layers: Annotated[
        int | None, Option(help="Read the last so many blocks of the encoder; left out, 2 if it has them.")
    ] = None,
    pool: Annotated[int, Option(help="Average each patch with its neighbours, over so many rows and columns.")] = 1,
    even_lighting: Annotated[
        bool | None,
        Option(
            "--even-lighting/--no-even-lighting",
            help="Standardise features within each image: what changes all of it, as lighting does, counts less. Left "
            "out, it is chosen by the normal images.",
            show_default=False,
        ),
    ] = None,
    memory: Annotated[int, Option(help="Patches that the memory keeps; of cells of pixels half as many.")] = PATCHES,
    coreset: Annotated[str, Option(help=f"How they are chosen: {' or '.join(CORESETS)}.")] = "greedy",
    image_size: Annotated[
        str | None, Option(help="Use the encoder at another image size, such as 256 or 128x256.", show_default=False)
    ] = None,
    step: Step = None,
    seed: Annotated[int, Option(help="Of which images are held out.")] = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: OverwriteFolder = False,
) -> Path:
    """Fit a detector of odd images on normal images, of which one is enough.

    Each score is how far an image is from normal ones; how much that varies among normal images is learned from some
    that are held out, so that scores can be added. With --false-alarms further images are held out for the threshold;
    of too few it is refused. Whether features are standardised against changes of light is chosen by defects planted
    in normal images. Normal images that are far from all others, and so may have defects, are named.
    `openjepa anomaly score` and `openjepa anomaly evaluate` use the detector.

    Returns the folder. Raises UsageError.
    """
    source, out, model = normals_in(as_source(normals)), Path(out), str(model)
    check_new_artifact(out, "give --out another name", [model, *names_of(source)], overwrite)
    readers = count_workers(workers, device)
    check_coreset(coreset, memory)
    rate, chosen = parse_rate(false_alarms), parse_scores(scores, any_orientation)
    size = None if image_size is None else parsed_size(normal("image_size", image_size))
    where = choose_device(device)
    encoder = open_patch_model(model, step, size, where, choose_precision(precision, where))
    energies = energies_for(encoder, model, step, size, chosen)
    patches = PatchSettings(check_layers(encoder, layers), check_pool(pool, encoder), bool(even_lighting))
    dataset, summary = open_images(source, encoder.pixel_format, max_skipped)
    if any_orientation:
        check_any_orientation(encoder, chosen, summary.common_size)
    log(*seen_lines(summary.sizes, encoder.frame), *size_lines(summary))
    settings = FitSettings(patches, chosen, memory, coreset, rate, any_orientation, any_light, seed)
    if even_lighting is None:
        with counting("changing the light of normal images") as progress:
            settings = choose_lighting(encoder, settings, dataset, readers, progress)
    with counting(f"fitting on {source}") as progress:
        fitter = Fitter(encoder, settings, readers, progress, energies)
        detector, bad = fitter.fit(dataset, where_it_is(model), summary.common_size)
    skipped = summary.skipped + bad
    check_skipped(str(source), skipped, len(dataset) - len(bad), max_skipped)
    save_detector(out, detector, step, skipped, overwrite)
    log(*skipped_lines(skipped), *detector.lines())
    log(f"detector in {out}; {counted(files_in(skipped), 'file')} skipped")
    return out
