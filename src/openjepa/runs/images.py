"""The images of a command: open them, report what was found, list unusable ones, keep them in memory where it pays."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openjepa.config import (
    MAX_SKIPPED,
    Config,
    build_config,
    check_value,
    image_size,
    normal,
    seconds,
    size_in_words,
    size_text,
)
from openjepa.console import counting, log
from openjepa.data.dataset import ImageDataset, without_labels
from openjepa.data.decoding.pixel_format import PAGES, PixelFormat
from openjepa.data.memory import decoded_bytes, hold_in_memory, shorter_sides
from openjepa.data.open import Given, open_dataset
from openjepa.data.proportions import Sizes, suited_sizes
from openjepa.data.storage.storage import Skipped, is_lost
from openjepa.data.summary import Summary, counted, inspect_dataset
from openjepa.device import choose_device, usual_workers
from openjepa.errors import UsageError, unknown
from openjepa.escaping import visible
from openjepa.files import check_can_write, check_folder_name, replaces_folder, write_text
from openjepa.files.lock import LOCK
from openjepa.files.temporary import PREFIX
from openjepa.masking.samplers import STRATEGIES, check_masks
from openjepa.masking.settings import MaskSettings
from openjepa.recipe_settings import RECIPES, Pick, pick_recipe, recipe
from openjepa.runs.planning.build_model import method_of

LISTED = "skipped.txt"
IGNORE_SHARDS = "--no-labels ignores them"  # what to do about folders that look like classes


def write_skipped(file: Path, skipped: Skipped) -> None:
    """A line for each file, its path and the reason; no file where nothing was skipped."""
    text = "".join(f"{visible(path)}\t{visible(reason)}\n" for path, reason in sorted(set(skipped)))
    if text:
        write_text(file, text)


def check_skipped(source: str, skipped: Skipped, usable: int, most: float, listed_in: str = "") -> None:
    """Raise UsageError if more than a fraction `most` of the images of a source is unusable; lists them in a file."""
    if not 0 <= most <= 1:
        raise UsageError(f"--max-skipped {most:g} is not possible: give a fraction from 0 to 1")
    lost = [(path, reason) for path, reason in skipped if is_lost(reason)]
    total = usable + len(lost)
    if len(lost) <= most * total:
        return
    if listed_in:
        write_skipped(Path(listed_in), skipped)
    named = "; ".join(f"{path}: {reason}" for path, reason in lost[:3]) + "; ..." * (len(lost) > 3)
    where = f"; all are listed in {listed_in}" if listed_in else ""
    raise UsageError(
        f"{len(lost):,} of {total:,} images of {source} cannot be used ({len(lost) / total:.1%}: {named}{where}), "
        f"more than --max-skipped {most:g} allows: repair them, leave them out, or give a larger fraction"
    )


MEMORY_LIMIT = 2**30


def open_images(
    source: Given,
    pixel_format: PixelFormat | None = None,
    max_skipped: float = MAX_SKIPPED,
    listed_in: str = "",
    labels: bool = True,
    **chosen: Any,
) -> tuple[ImageDataset, Summary]:
    """The usable images of a source, their headers read; `pixel_format` is a model's, else `chosen` channels and pages.

    With `labels` False they have none, whatever the source knows of them. Raises UsageError if more than a fraction
    `max_skipped` is unusable; those are listed in the file `listed_in`.
    """
    with counting(f"opening {source}") as progress:
        dataset = open_dataset(source, progress)
    dataset = dataset if labels else without_labels(dataset)
    with counting(f"looking at {dataset.source}") as progress:
        dataset, summary = inspect_dataset(dataset, progress, pixel_format, **chosen)
    check_skipped(dataset.source, summary.skipped, summary.images, max_skipped, listed_in)
    return dataset, summary


def prepare_images(
    source: Given,
    workers: int,
    listed_in: str = "",
    pixel_format: PixelFormat | None = None,
    max_skipped: float = MAX_SKIPPED,
    patch_size: int = 0,
    **chosen: Any,
) -> tuple[ImageDataset, Summary]:
    """`open_images`, with what was found printed; small sets are decoded once and kept in memory.

    Raises UsageError also where the headers say that all are smaller than a patch of `patch_size` px; none is decoded.
    """
    dataset, summary = open_images(source, pixel_format, max_skipped, listed_in, **chosen)
    sides = [min(width, height) for width, height, _ in summary.sizes]
    if max(sides, default=patch_size) < patch_size and max_skipped < 1:
        raise _smaller(dataset.source, len(dataset), len(dataset), patch_size, min(sides))
    if decoded_bytes(summary) <= MEMORY_LIMIT:
        with counting(f"reading {dataset.source}") as progress:
            dataset, bad = hold_in_memory(dataset, workers, progress)
        summary.skipped += bad
        check_skipped(dataset.source, summary.skipped, len(dataset) - len(bad), max_skipped, listed_in)
    log(f"{dataset.source}", *(f"  {line}" for line in summary.lines(listed_in)))
    return dataset, summary


def leave_out_small(
    dataset: ImageDataset, summary: Summary, patch_size: int, max_skipped: float
) -> tuple[ImageDataset, Summary]:
    """The images that are no smaller than a patch; the others are skipped.

    Raises UsageError if these are more than a fraction `max_skipped`.
    """
    if summary.smallest_side >= patch_size:
        return dataset, summary
    sides = shorter_sides(dataset)
    small = np.flatnonzero(sides < patch_size).tolist()
    if not small:  # the size of an image that could not be decoded
        return dataset, summary
    skipped = [(dataset.paths[row], f"smaller than a patch ({sides[row]} px, a patch {patch_size})") for row in small]
    if len(small) > max_skipped * len(dataset):
        first = f" ({skipped[0][0]}: {sides[small[0]]} px)"
        raise _smaller(dataset.source, len(small), len(dataset), patch_size, sides.min(), first)
    log(f"skipped {counted(len(small), 'image')} smaller than a patch of {patch_size} px: {skipped[0][0]}")
    summary.skipped += skipped
    summary.images -= len(small)
    summary.sizes = [
        (width, height, count) for width, height, count in summary.sizes if min(width, height) >= patch_size
    ]
    return dataset.subset(np.flatnonzero(sides >= patch_size)), summary


def _smaller(source: str, small: int, images: int, patch_size: int, least: int, first: str = "") -> UsageError:
    return UsageError(
        f"{small:,} of {images:,} images in {source} are smaller than a patch of {patch_size} px{first}: give "
        f"--patch-size {least} or less, a larger --max-skipped, or leave them out"
    )


def settler(given: dict[str, Any], name: str | None = None) -> Callable[[Summary], Config]:
    """A function from images to the settings for them (`pick_for`); `given` ones override the recipe."""

    def settle(summary: Summary) -> Config:
        pick = pick_for(summary, given, name)
        return _config_of(pick, given)

    return settle


def pick_for(summary: Summary, given: Mapping[str, Any], name: str | None = None) -> Pick:
    """The recipe for these images and the `given` device and time, or that of a name, with an image size for them.

    Logs what was picked, with the reason.
    """
    pick = suited(Pick(name, {}, "") if name else picked(summary, given), summary, given)
    if not name:
        config = _config_of(pick, given)
        shape = f"{config.model} at {size_in_words(config.size)} with patches of {config.patch_size}"
        log(f"recipe {pick.name}, {shape}, because {pick.why}")
    return pick


def suited(pick: Pick, summary: Summary, given: Mapping[str, Any]) -> Pick:
    """A pick with the image size that suits the images, unless one is given or the recipe has a published one."""
    if given.get("image_size") is not None or RECIPES[pick.name].published_size:
        return pick
    size = size_for(summary.sizes, _config_of(pick, given))
    return pick._replace(changes=pick.changes | {"image_size": size_text(size)})


def size_for(sizes: Sizes, config: Config) -> tuple[int, int]:
    """The image size (rows, columns) that suits images of these sizes, of those that the masks of a config allow."""

    def allowed(size: tuple[int, int]) -> bool:
        try:
            mask_settings(dataclasses.replace(config, image_size=size_text(size)))
        except UsageError:
            return False
        return True

    return next(filter(allowed, suited_sizes(sizes, config.frame, config.patch_size)), config.size)


def suggested(summary: Summary) -> Config:
    """The settings that pretrain uses for images where none are given."""
    return _config_of(suited(picked(summary, {}), summary, {}), {})


def _config_of(pick: Pick, given: Mapping[str, Any]) -> Config:
    return build_config(recipe(pick.name, given) | pick.changes, given)


def picked(summary: Summary, given: Mapping[str, Any]) -> Pick:
    """The recipe for these images and the `given` device, image size and time."""
    size, time = given.get("image_size"), given.get("time")
    side = min(image_size(normal("image_size", size))) if size else summary.median_side
    device = choose_device(given.get("device") or "auto").type
    return pick_recipe(side, summary.images, device, seconds(str(time)) if time else None, size and str(size))


def mask_settings(config: Config) -> MaskSettings | None:
    """The masks of a config, None for a method without masks; raises UsageError if they do not fit its grid."""
    method = method_of(config)
    if not method.needs_masks:
        return None
    strategy = config.masks or method.default_masks
    given = {name: getattr(config, name) for name in ("num_targets", "target_scale", "context_scale")}
    entry = STRATEGIES[strategy]
    chosen = {"context_ratio": config.context_ratio} | {**entry.defaults}
    chosen |= entry.derived(config.context_ratio, method.predicts_all_hidden)
    chosen |= {name: value for name, value in given.items() if value is not None}
    settings = MaskSettings(
        config.grid_size,
        strategy,
        target_aspect_ratio=config.target_aspect_ratio,
        masks_per_image=config.masks_per_image,
        **chosen,
    )
    try:
        check_masks(settings)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return settings


def is_content(path: Path) -> bool:
    """Whether a file or folder in a run folder is more than what a start that failed leaves there."""
    return path.name not in (LISTED, LOCK) and not path.name.startswith(PREFIX)


def check_new_folder(out: Path, another: str) -> None:
    """Raise UsageError unless `out` is free to write a run into; `another` says what else the user can do."""
    if out.name in ("", ".."):
        raise UsageError(f"{str(out)!r} does not name a folder to make: {another}")
    check_folder_name(out)
    check_can_write(out / "config.json")
    if out.exists() and any(is_content(path) for path in out.iterdir()):
        is_run = (out / "config.json").exists() and not (out / "openjepa.json").exists()
        what = "holds another run" if is_run else "exists and is not empty"
        raise UsageError(f"{out} {what}: {another}")


def check_new_artifact(out: Path, another: str, inputs: Iterable[str], overwrite: bool) -> None:
    """`check_new_folder`, which with `overwrite` is also content with what import, export or ensemble wrote."""
    if not replaces_folder(out, inputs, overwrite, another):
        alone = " (--overwrite replaces only what import, export and ensemble wrote)" * overwrite
        check_new_folder(out, another + alone)


def check_choice(channels: int | None, pages: str) -> None:
    """Raise UsageError unless images can be chosen so."""
    if channels is not None and channels < 1:
        raise UsageError(f"--channels {channels} is not possible: give at least 1")
    if pages not in PAGES:
        raise UsageError(unknown("--pages", pages, PAGES))


def count_workers(workers: int | str, device: str | torch.device | None = None) -> int:
    """Processes that read images: a number, or what `auto` is for work on a device, or for none. Raises UsageError."""
    count = normal("workers", workers)
    check_value("workers", count)
    return usual_workers(choose_device(device) if device else None) if count is None else count
