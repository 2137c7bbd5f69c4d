"""What is known of each image besides its class, by its path: objects, distance, depth map, mask."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.open import open_dataset
from openjepa.data.scenes.scenes import EDGES, Scenes
from openjepa.data.scenes.solids import SHAPES
from openjepa.data.storage.layout import SUFFIXES
from openjepa.errors import BadImage, UsageError
from openjepa.evaluation.object_annotations import Annotation, read_annotations

CLEVR_EDGES = (8.0, 8.5, 9.0, 9.5, 10.0)  # VTAB's Clevr/Dist (Zhai et al. 2019, arXiv 1910.04867)
SEEN = 20.0  # scene units up to which depth counts: the ground near the horizon is thousands away
Map = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Targets:
    """By path: annotations; depth(path) float32 [H, W], NaN where unknown; mask(path) int64 [H, W], -1 where unknown.

    `edges` are the inner edges of the distance classes; `parts` the names of the mask's values, where they have any;
    `remarks` are lines for the user on how files match images.
    """

    annotations: dict[str, Annotation] = field(default_factory=dict)
    edges: Sequence[float] = CLEVR_EDGES
    depth: Map | None = None
    mask: Map | None = None
    parts: tuple[str, ...] = ()
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

    return Targets(annotations, tuple(EDGES), depth, mask, ("sky", "ground", *SHAPES))


def file_targets(dataset: ImageDataset, annotations: str | None, depths: str | None, masks: str | None) -> Targets:
    """Targets from files beside the images. Raises UsageError where they do not match the images."""
    remarks: list[str] = []
    found = read_annotations(annotations) if annotations else {}
    return Targets(
        _matched(dataset, found, f"annotations in {annotations}", remarks) if found else {},
        depth=_map(dataset, depths, _read_depth, remarks) if depths else None,
        mask=_map(dataset, masks, _read_mask, remarks) if masks else None,
        remarks=tuple(remarks),
    )


def open_targets(
    source: str, dataset: ImageDataset, annotations: str | None, depths: str | None, masks: str | None
) -> Targets:
    """The targets of a source: of drawn scenes, or from files. Raises UsageError."""
    drawn = open_dataset(source) if source == "scenes" or source.startswith("scenes:") else None
    if isinstance(drawn, Scenes):
        given = annotations or depths or masks
        if given:
            raise UsageError(f"{given} was given for {source}, and drawn scenes know their own: leave it out")
        return scene_targets(drawn)
    return file_targets(dataset, annotations, depths, masks)


def _keys(name: str) -> tuple[str, str]:
    """A name without its suffix, whole and the last part alone."""
    whole = PurePosixPath(name.replace(os.sep, "/"))
    if whole.suffix.lower() in (*SUFFIXES, ".npy"):
        whole = whole.with_suffix("")
    return str(whole), whole.name


def _matched(dataset: ImageDataset, found: dict[str, Any], what: str, remarks: list[str]) -> dict[str, Any]:
    """Values by the paths of images, from values under other names: by whole names, or by last parts that are unique.

    Values that match no image are counted in `remarks`.
    """
    whole = {_keys(name)[0]: name for name in found}
    last = {_keys(name)[1]: name for name in found}
    repeated = {name for name, n in Counter(_keys(path)[1] for path in dataset.paths).items() if n > 1}
    matched = {}
    for path in dataset.paths:
        key, short = _keys(path)
        if key in whole:
            matched[path] = whole[key]
        elif short in last and short not in repeated:
            matched[path] = last[short]
    missing = [path for path in dataset.paths if path not in matched]
    if missing:
        raise UsageError(
            f"{len(missing):,} of {len(dataset):,} images of {dataset.source} have no {what} ({missing[0]}, ...): "
            "annotate them or leave them out; files are matched by name"
        )
    unused = len(found) - len(set(matched.values()))
    if unused:
        remarks.append(f"note: {unused:,} of {len(found):,} {what} match no image of {dataset.source} and are left out")
    return {path: found[name] for path, name in matched.items()}


def _map(dataset: ImageDataset, source: str, read: Callable[[ImageFiles, int], np.ndarray], remarks: list[str]) -> Map:
    files = open_dataset(source)
    if not isinstance(files, ImageFiles):
        raise UsageError(f"{source} holds no maps: give a folder of image files named like the images")
    places = _matched(dataset, {path: index for index, path in enumerate(files.paths)}, f"maps in {source}", remarks)
    read(files, places[dataset.paths[0]])  # so that an error in every map is found before features are computed
    return lambda path: read(files, places[path])


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
        with files.open(index) as stream, Image.open(stream) as image:
            values = np.asarray(image)
    except (OSError, ValueError, BadImage) as error:
        raise UsageError(f"{files.paths[index]} in {files.source} cannot be read ({error}): repair it") from error
    if values.ndim != 2:
        raise UsageError(f"{files.paths[index]} in {files.source} is in colour: maps have one value a pixel")
    return values
