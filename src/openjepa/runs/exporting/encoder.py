"""The folder of an export: weights, comparison with openjepa, and model card."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from openjepa.console import log
from openjepa.data.crops import Frame, standardise
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.open import open_dataset
from openjepa.data.scenes.scenes import Scenes
from openjepa.data.summary import inspect_dataset
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError, unknown
from openjepa.files import atomic_folder, usage_error, write_json, write_text
from openjepa.interop.artifact import load_artifact
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.formats.compare import compare
from openjepa.interop.formats.registry import FORMATS, HUB, Format, Options
from openjepa.interop.loaded_weights import Source
from openjepa.interop.model_card import Card, card_of, write_card
from openjepa.interop.web.folder import int8_cosine, next_lines
from openjepa.masking.coverage import cover, in_words
from openjepa.models.resize import weights_of
from openjepa.runs.checkpoints import file_at
from openjepa.runs.folder import RunFolder, read_run_folder
from openjepa.safety.schema import Name, Schema, read_json
from openjepa.training.monitoring.online_probe import sample_images

COMPARED, LIMIT, HALF_LIMIT = 8, 1e-3, 5e-2
COMPARISON = "comparison.json"
MONITORS = ("rank", "std", "positional_fraction", "energy_gap", "ema_distance", "knn", "linear", "verdict")


@dataclass(frozen=True)
class Export:
    """What is asked for: a format, what to write in it, images to compare on, the name to push it to on the Hub.

    `step` is that of a checkpoint of a run, None for its finished encoder and for other weights.
    """

    format: Format
    options: Options
    images: str | None = None
    hub_name: str | None = None
    step: int | None = None

    def push_record(self, licence: str | None) -> dict[str, str | bool | None]:
        """What a folder states that is to be pushed, so that a push that failed can be tried again."""
        options = self.options
        return {
            "to": self.hub_name,
            "which": options.which,
            "with_predictor": options.with_predictor,
            "licence": licence,
        } | ({} if self.step is None else {"step": str(self.step)})


class Comparison(Schema):
    """What of comparison.json is read again: which push its folder was written for."""

    push: dict[str, Name | bool | None] | None = None


def read_request(to: str, options: Options, images: str | None, step: int | None = None) -> Export:
    """An export as `--to` and other options state it; raises UsageError for a format that is not known or not fit."""
    name, _, hub_name = to.partition(":")
    known = {each.name: each for each in FORMATS}
    if (name not in known and name != "hub") or bool(hub_name) != (name == "hub"):
        raise UsageError(unknown("--to", to, (*known, HUB)))
    format_ = known["hf" if hub_name else name]
    if options.half and not format_.half:
        able = ", ".join(each.name for each in FORMATS if each.half)
        raise UsageError(f"--half goes with --to {able}, not with --to {to}: leave it out")
    for option, given in (("--gallery", options.gallery), ("--runtime", options.runtime)):
        if given and not format_.page:
            able = ", ".join(each.name for each in FORMATS if each.page)
            raise UsageError(f"{option} goes with --to {able}, not with --to {to}: leave it out")
    return Export(format_, options, images, hub_name or None, step)


def folder_of(model: str, to: Format, out: Path | None, step: int | None = None) -> Path:
    """Where to write; raises UsageError if the model is no folder and no place is given."""
    if out is None and "/" not in model and not Path(model).exists():
        raise UsageError(f"{model} does not exist: give a run, an artifact, or weights that openjepa import takes")
    if out is None and not Path(model).is_dir():
        raise UsageError(f"{model} is no folder to put an export into: give --out")
    return Path(out) if out is not None else Path(model) / file_at(f"export-{to.name}", step)


def licence_of(source: Source | ForeignSource | Encoder, given: str | None) -> str | None:
    """The licence of the weights; raises UsageError if another one is given than that of where they came from."""
    if given and source.licence and given != source.licence:
        raise UsageError(f"{source.name} is under {source.licence}, which an export cannot change: leave out --licence")
    return source.licence or given


def is_written(folder: Path, source: Source, export: Export) -> bool:
    """Whether a folder already holds this export for the Hub: its push has failed, and can be tried again."""
    path = folder / COMPARISON
    if not export.hub_name or not path.is_file():
        return False
    try:
        stored = read_json(path, Comparison, "give --out another name")
        written = load_artifact(folder).encoder(export.options.which)
    except UsageError:
        return False
    asked = source.encoder(export.options.which)
    same = stored.push == export.push_record(source.licence) and written.arguments() == asked.arguments()
    return same and all(
        torch.equal(one, other)
        for one, other in zip(weights_of(written).values(), weights_of(asked).values(), strict=True)
    )


def write_export(folder: Path, source: Source, export: Export, overwrite: bool = False) -> None:
    """Write the folder, open it with the other library, compare the two and log the differences.

    With `overwrite` it takes the place of a folder that is there. Raises UsageError.
    """
    to, options = export.format, export.options
    if options.with_predictor and not (to.predictor and source.predictor):
        alone = f"{to.name if to.page else to.name.upper()} holds the encoder alone"
        why = f"{source.name} has no predictor" if to.predictor else alone
        raise UsageError(f"{why}: leave out --with-predictor")
    pixels, named = comparison_images(source, options.which, export.images)
    with usage_error(folder), atomic_folder(folder, replace=overwrite) as part:
        to.writer().write(part, source, options)
        forward = to.writer().reopen(part, options, source)
        comparison = compare(forward, source.encoder(options.which), pixels)
        if to.page:
            comparison["int8"] = {"least_cosine": int8_cosine(part, source, options, pixels)}
        about = {"push": export.push_record(source.licence)} if export.hub_name else {}
        write_json(part / COMPARISON, {"format": to.name, "images_of": named, **comparison, **about})
        card = card_of(source, to, options, export.hub_name or folder.resolve().name, comparison, named)
        write_text(part / "README.md", write_card(with_run(card, Path(source.name), export.step)))
    limit = HALF_LIMIT if options.half else LIMIT
    log(*difference_lines(folder, to.name, comparison, named, limit), *source.remarks(options.which))
    log(f"licence: {source.licence or 'not stated; --licence puts one on the card'}")
    if to.page:
        log(f"8-bit weights: cosine of embeddings with openjepa's at least {comparison['int8']['least_cosine']:.4f}")
        log(*next_lines(folder))


def comparison_images(source: Source, which: str, images: str | None) -> tuple[Tensor, str]:
    """Standardised pixels [8, C, H, W] of the images named, or else of drawn scenes; and whose.

    The data that a run or an artifact states is not opened: whoever made the file chose that name.
    """
    frame = Frame(source.encoder(which).image_size, source.max_stretch)
    return comparison_pixels(images, frame, source.pixel_format, source.mean, source.std)


def comparison_pixels(
    images: str | None, frame: Frame, pixel_format: PixelFormat, mean: list[float], std: list[float]
) -> tuple[Tensor, str]:
    """Standardised pixels [8, C, H, W] of `images` as a frame shows them, or of drawn scenes; and whose."""
    if not images:
        return drawn(frame.size, pixel_format.channels), f"scenes:{COMPARED}"
    dataset, _ = inspect_dataset(open_dataset(images), pixel_format=pixel_format)
    sample, _ = sample_images(dataset, frame, COMPARED, 0)
    return standardise(sample, mean, std), images


def drawn(image_size: tuple[int, int], channels: int) -> Tensor:
    """Scenes with their channels repeated, of about zero mean and unit variance: [8, C, H, W]."""
    sample, _ = sample_images(Scenes(COMPARED), Frame(image_size), COMPARED, 0)
    return standardise(sample[:, torch.arange(channels) % 3], [0.5] * channels, [0.25] * channels)


def difference_lines(folder: Path, to: str, comparison: dict, named: str, limit: float) -> list[str]:
    """The largest and mean differences as text, with a warning above `limit`."""
    gaps = [
        f"{what} max {comparison[what]['max']:.1e}, mean {comparison[what]['mean']:.1e}"
        for what in ("patch_tokens", "embedding")
    ]
    lines = [
        f"{to}: {folder}",
        f"difference from openjepa on {comparison['images']} images of {named}: {'; '.join(gaps)}",
    ]
    if not comparison["patch_tokens"]["max"] <= limit:
        lines.append(f"warning: that is more than {limit:g}: do not rely on this export")
    return lines


def with_run(card: Card, folder: Path, step: int | None) -> Card:
    """The card with the data, recipe, masks, monitors and evaluation of a run, if the folder is one."""
    if step is None and not ((folder / "config.json").is_file() and (folder / "encoder").is_dir()):
        return card
    run = read_run_folder(folder, step=step)
    settings = [(s.option, s.value) for s in run.settings() if s.panel != "Machine" and s.value != "–"]
    return replace(
        card,
        data=[f"source: {run.data}", *run.images.lines()],
        recipe=[("steps", f"{run.steps:,}"), *settings],
        masks=_masks_of(run),
        monitors=_last_monitors(run),
        measured=run.results,
    )


def _masks_of(run: RunFolder) -> list[tuple[str, str]]:
    if run.masks is None:
        return [("strategy", "none")]
    coverage = cover(run.masks, run.config.batch_size, run.config.seed)
    return [("strategy", run.masks.name), *in_words(run.masks, coverage)]


def _last_monitors(run: RunFolder) -> list[tuple[str, str]]:
    last: dict = {}
    for record in run.records:
        last |= {name: value for name, value in record.items() if name in MONITORS}
    values = {name: last[name] for name in MONITORS if name in last}
    return [(name, value if isinstance(value, str) else f"{value:.3g}") for name, value in values.items()]
