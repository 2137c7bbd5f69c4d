"""The folder of an export: weights, comparison and card, written aside and put in its place when all is there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from openjepa.config import unknown
from openjepa.console import log
from openjepa.data.crops import standardise
from openjepa.data.open import open_dataset
from openjepa.data.scenes.scenes import Scenes
from openjepa.data.summary import inspect_dataset
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json, write_text
from openjepa.interop import writers
from openjepa.interop.onnx import write_onnx
from openjepa.interop.source import Source
from openjepa.interop.writers import Theirs, compare
from openjepa.reports.model_card import card_of, write_card
from openjepa.training.monitoring.online_probe import sample_images

WRITERS: dict[str, Callable[..., Theirs]] = {
    "hf": writers.write_hf,
    "timm": writers.write_timm,
    "safetensors": writers.write_safetensors,
    "official": writers.write_official,
}
FORMATS = (*WRITERS, "onnx")
COMPARED, LIMIT, HALF_LIMIT = 8, 1e-3, 5e-2


def checked(to: str, half: bool) -> tuple[str, str | None]:
    """The format and, if it is to be pushed, the name on the Hub; raises UsageError."""
    format_, _, hub_name = to.partition(":")
    if format_ not in (*FORMATS, "hub") or bool(hub_name) != (format_ == "hub"):
        raise UsageError(unknown("--to", to, (*FORMATS, "hub:OWNER/NAME")))
    if half and format_ != "onnx":
        raise UsageError(f"--half goes with --to onnx, not with --to {to}: leave it out")
    return ("hf", hub_name) if hub_name else (format_, None)


def folder_of(model: str, format_: str, out: Path | None) -> Path:
    """Where to write; raises UsageError if the model is no folder and no place is given."""
    if out is None and not Path(model).is_dir():
        raise UsageError(f"{model} is no folder to put an export into: give --out")
    return Path(out) if out is not None else Path(model) / f"export-{format_}"


def licence_of(source: Source, given: str | None) -> str | None:
    """The licence of the weights; raises UsageError if another one is given than that of where they came from."""
    if given and source.licence and given != source.licence:
        raise UsageError(f"{source.name} is under {source.licence}, which an export cannot change: leave out --licence")
    return source.licence or given


def write_export(
    folder: Path,
    source: Source,
    which: str,
    format_: str,
    with_predictor: bool,
    half: bool,
    images: str | None,
    licence: str | None,
    hub_name: str | None,
) -> None:
    """Write, read back as others do, compare, and say what came of it."""
    if with_predictor and (format_ == "onnx" or not source.predictor):
        why = "ONNX holds the encoder alone" if format_ == "onnx" else f"{source.name} has no predictor"
        raise UsageError(f"{why}: leave out --with-predictor")
    source = replace(source, licence=licence)
    network = source.encoder(which)
    pixels, named = comparison_images(source, which, images)
    with usage_error(folder), atomic_folder(folder) as part:
        comparison = compare(_write(part, source, which, format_, with_predictor, half), network, pixels)
        write_json(part / "comparison.json", {"format": format_, "images_of": named, **comparison})
        card = card_of(source, which, format_, hub_name or folder.resolve().name, licence, comparison, named)
        write_text(part / "README.md", write_card(card))
    log(*in_words(folder, format_, comparison, named, HALF_LIMIT if half else LIMIT), *source.remarks(which))
    log(f"licence: {licence or 'not stated; --licence puts one on the card'}")


def _write(folder: Path, source: Source, which: str, format_: str, with_predictor: bool, half: bool) -> Theirs:
    if format_ != "onnx":
        return WRITERS[format_](folder, source, which, with_predictor)
    run = write_onnx(folder, source, which, half)
    return lambda pixels: run(pixels)[1]


def comparison_images(source: Source, which: str, images: str | None) -> tuple[Tensor, str]:
    """Standardised pixels [8, C, H, W] of the images named, of the run's own, or else of drawn scenes; and whose."""
    network, own = source.encoder(which), images or source.about.get("data")
    try:
        if own:
            dataset, _ = inspect_dataset(open_dataset(own), pixel_format=source.pixel_format)
            sample, _ = sample_images(dataset, network.image_size, COMPARED, 0)
            return standardise(sample, source.mean, source.std), own
    except UsageError:
        if images:
            raise
    return drawn(network.image_size, network.in_chans), f"scenes:{COMPARED}"


def drawn(image_size: tuple[int, int], channels: int) -> Tensor:
    """Scenes with their channels repeated, of about zero mean and unit variance: [8, C, H, W]."""
    sample, _ = sample_images(Scenes(COMPARED), image_size, COMPARED, 0)
    return standardise(sample[:, torch.arange(channels) % 3], [0.5] * channels, [0.25] * channels)


def in_words(folder: Path, format_: str, comparison: dict, named: str, limit: float) -> list[str]:
    gaps = [
        f"{what} max {comparison[what]['max']:.1e}, mean {comparison[what]['mean']:.1e}"
        for what in ("patch_tokens", "embedding")
    ]
    lines = [
        f"{format_}: {folder}",
        f"difference from openjepa on {comparison['images']} images of {named}: {'; '.join(gaps)}",
    ]
    if not comparison["patch_tokens"]["max"] <= limit:
        lines.append(f"warning: that is more than {limit:g}: do not rely on this export")
    return lines
