"""What is known of each image besides its class, by its path: objects, distance, depth map, mask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openjepa.data.crops import Frame, size_of
from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.decoding.pillow import bad_image_on_error, open_image
from openjepa.data.decoding.read import read_header
from openjepa.data.open import open_dataset
from openjepa.data.scenes.scenes import EDGES, Scenes
from openjepa.data.scenes.solids import SHAPES
from openjepa.errors import BadImage, UsageError
from openjepa.evaluation.annotations.name_matching import match_names
from openjepa.evaluation.annotations.object_annotations import Annotation, read_annotations

CLEVR_EDGES = (8.0, 8.5, 9.0, 9.5, 10.0)  # VTAB's Clevr/Dist (Zhai et al. 2019, arXiv 1910.04867)
SEEN = 20.0  # scene units up to which depth counts: the ground near the horizon is thousands away


@dataclass(frozen=True)
class Maps:
    """The depth maps or masks of the images of some `paths`, read when they are asked for."""

    paths: frozenset[str]
    read: Callable[[str], np.ndarray]

    def __call__(self, path: str) -> np.ndarray:
        return self.read(path)


@dataclass(frozen=True)
class Targets:
    """By path: annotations; depth(path) float32 [H, W], NaN where unknown; mask(path) int64 [H, W], -1 where unknown.

    They may be known of some images only.
    `edges` are the inner edges of the distance classes; `parts` the names of the mask's values, where they have any;
    `kind` is that of the objects, None where all kinds are counted; `remarks` are lines for the user on how files match
    images.
    """

    annotations: dict[str, Annotation] = field(default_factory=dict)
    edges: Sequence[float] = CLEVR_EDGES
    depth: Maps | None = None
    mask: Maps | None = None
    parts: tuple[str, ...] = ()
    kind: str | None = None
    remarks: tuple[str, ...] = ()


def scene_targets(scenes: Scenes) -> Targets:
    """All that is known of drawn scenes; a mask tells sky, ground and the five shapes apart."""
    place = {path: index for index, path in enumerate(scenes.paths)}
    counts, distances = scenes.labels["count"] + 1, scenes.distances
    annotations = {p: Annotation(int(c), float(d)) for p, c, d in zip(scenes.paths, counts, distances, strict=True)}

    def depth(path: str) -> np.ndarray:
        seen = scenes.depth(place[path])
        return np.where(seen <= SEEN, seen, np.nan)

    def mask(path: str) -> np.ndarray:
        scene = scenes.scene(place[path])
        names = np.array([1, *(2 + shape for shape in scene.solids)])
        return np.where(np.isfinite(scene.depth), names[scene.owner], 0)

    depths, masks = (Maps(frozenset(place), read) for read in (depth, mask))
    return Targets(annotations, tuple(EDGES), depths, masks, ("sky", "ground", *SHAPES))


def file_targets(
    dataset: ImageDataset,
    annotations: str | None,
    depths: str | None,
    masks: str | None,
    frame: Frame | None = None,
    kind: str | None = None,
) -> Targets:
    """Targets from files beside the images, without the objects that a frame does not show.

    Raises UsageError where they do not match the images.
    """
    remarks: list[str] = []
    found = read_annotations(annotations, kind) if annotations else {}
    matched = _matched(dataset, found, f"annotations in {annotations}", remarks) if found else {}
    return Targets(
        _seen(dataset, matched, frame, remarks) if frame else matched,
        depth=_maps(dataset, depths, _read_depth, remarks) if depths else None,
        mask=_maps(dataset, masks, _read_mask, remarks) if masks else None,
        kind=kind if annotations else None,
        remarks=tuple(remarks),
    )


def open_targets(
    source: str,
    dataset: ImageDataset,
    annotations: str | None,
    depths: str | None,
    masks: str | None,
    frame: Frame | None = None,
    kind: str | None = None,
) -> Targets:
    """The targets of a source: of drawn scenes, or from files (`file_targets`). Raises UsageError."""
    drawn = open_dataset(source) if source == "scenes" or source.startswith("scenes:") else None
    if isinstance(drawn, Scenes):
        given = annotations or depths or masks
        if given:
            raise UsageError(f"{given} was given for {source}, and drawn scenes know their own: leave it out")
        return scene_targets(drawn)
    return file_targets(dataset, annotations, depths, masks, frame, kind)


def _seen(
    dataset: ImageDataset, annotations: dict[str, Annotation], frame: Frame, remarks: list[str]
) -> dict[str, Annotation]:
    """The annotations without the objects whose centre a frame does not show, which are counted in `remarks`."""
    seen = {}
    for index, path in enumerate(dataset.paths):
        if annotation := annotations.get(path):
            asked = annotation.things and not annotation.size
            seen[path] = annotation.seen(frame, _image_size(dataset, index) if asked else None)
    count = sum(annotation.count for annotation in annotations.values())
    lost = count - sum(annotation.count for annotation in seen.values())
    if lost:
        remarks.append(
            f"note: {lost:,} of {count:,} objects ({lost / count:.0%}) have their centre outside of what the model "
            f"sees of an image ({frame.size[0]}x{frame.size[1]} px, rows x columns) and are not counted"
        )
    return seen


def _image_size(dataset: ImageDataset, index: int) -> tuple[int, int] | None:
    """(width, height) of an image, None where it cannot be read."""
    try:
        if not isinstance(dataset, ImageFiles):
            return size_of(dataset.load(index))
        with dataset.open(index) as stream:
            return read_header(stream).size
    except BadImage:
        return None


def _matched(dataset: ImageDataset, found: dict[str, Any], what: str, remarks: list[str]) -> dict[str, Any]:
    """Values by the paths of images, from values under other names (`match_names`).

    Values that match no image, and images without one, are counted in `remarks`. Raises UsageError if none matches.
    """
    matched = match_names(list(dataset.paths), list(found), what)
    if not matched:
        raise UsageError(
            f"no image of {dataset.source} has {what} ({dataset.paths[0]}, ...): files are matched by name, so give "
            "files named like the images"
        )
    missing, unused = len(dataset) - len(matched), len(found) - len(matched)
    if missing:
        first = next(path for path in dataset.paths if path not in matched)
        remarks.append(
            f"note: {missing:,} of {len(dataset):,} images of {dataset.source} have no {what} ({first}, ...), and are "
            "left out of the tasks that need them"
        )
    if unused:
        remarks.append(f"note: {unused:,} of {len(found):,} {what} match no image of {dataset.source} and are left out")
    return {path: found[name] for path, name in matched.items()}


def _maps(
    dataset: ImageDataset, source: str, read: Callable[[ImageFiles, int], np.ndarray], remarks: list[str]
) -> Maps:
    files = open_dataset(source)
    if not isinstance(files, ImageFiles):
        raise UsageError(f"{source} holds no maps: give a folder of image files named like the images")
    places = _matched(dataset, {path: index for index, path in enumerate(files.paths)}, f"maps in {source}", remarks)
    maps = Maps(frozenset(places), lambda path: read(files, places[path]))
    maps(next(iter(places)))  # so that an error in every map is found before features are computed
    return maps


def _read_depth(files: ImageFiles, index: int) -> np.ndarray:
    """Grey values as they are in the file, 8 or 16 bits or float; 0 and below is unknown."""
    values = _grey(files, index).astype(np.float32)
    return np.where(values > 0, values, np.nan)


def _read_mask(files: ImageFiles, index: int) -> np.ndarray:
    """Class numbers as grey or palette values; 255 is unknown."""
    values = _grey(files, index).astype(np.int64)
    return np.where(values == 255, -1, values)


def _grey(files: ImageFiles, index: int) -> np.ndarray:
    try:
        with bad_image_on_error(), files.open(index) as stream:
            values = np.asarray(open_image(stream))
    except BadImage as error:
        raise UsageError(f"{files.paths[index]} in {files.source} cannot be read ({error}): repair it") from error
    if values.ndim != 2:
        raise UsageError(f"{files.paths[index]} in {files.source} is in colour: maps have one value a pixel")
    return values
