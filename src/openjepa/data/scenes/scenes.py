"""Drawn scenes: a data set with labels that needs no download, each picture a pure function of (seed, index, size).

On a lit ground stand 1 to 6 solids. A scene is asked three things: how many they are (`count`), what the nearest one is
(`shape`), and how far away it is (`distance`). The three answers are drawn first, uniformly and independently of each
other; then sizes, places, colours, ground, sky, sun and camera, from the same distributions whatever the answers.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, pi, sin, sqrt

import numpy as np
from PIL import Image

from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.pixel_format import RGB
from openjepa.data.scenes.palettes import PAINTS, THEMES
from openjepa.data.scenes.render import World, render
from openjepa.data.scenes.solids import SHAPES, Solid, Vector, silhouette, tangents
from openjepa.errors import UsageError
from openjepa.rng import SCENE_LABELS, SCENE_LAYOUTS, generator

MOST = 6
NEAREST, FURTHEST = 3.0, 7.5
EDGES = NEAREST * (FURTHEST / NEAREST) ** (np.arange(1, 6) / 6)
"""The inner edges of the six `distance` classes, in scene units: equally likely for a log-uniform distance."""

BACK = 14.0  # where the last solid begins at most
MARGIN = 0.47  # slope within which solids stand; the frame ends at 0.5
HIDDEN = 0.35  # largest part of a silhouette's box that the boxes of nearer solids may cover
LAYOUTS, TRIES = 20, 20  # a layout is given up after TRIES places for one solid; the last resort is for 1 scene in 400
PROPORTIONS = {  # radius and height at size 1, about equal areas in the picture, and the spread of the height
    "sphere": (0.9, 1.8, 0.0),
    "cube": (0.74, 1.48, 0.0),
    "cylinder": (0.74, 1.68, 0.1),
    "cone": (1.0, 1.96, 0.1),
    "torus": (0.8, 0.72, 0.0),
}
SIZES = 0.75, 1.1


@dataclass(frozen=True)
class Scene:
    """A drawn scene.

    `image` uint8 [H, W, 3]; `depth` float32 [H, W], along the viewing axis, in scene units, inf in the sky; `owner`
    uint8 [H, W], 0 for the background, k for the k-th solid, the nearest being 1. `count` is 1 to 6, `shape` the
    nearest solid's index in `SHAPES`, `distance` the depth of its nearest point, 3 to 7.5 scene units; `solids` are the
    indices in `SHAPES` of all solids, the nearest first.
    """

    image: np.ndarray
    depth: np.ndarray
    owner: np.ndarray
    count: int
    shape: int
    distance: float
    solids: tuple[int, ...]


class Scenes(ImageDataset):
    """The first `count` scenes of the endless series `seed`, drawn when asked for in `size` (rows, columns) pixels.

    `labels` (int64 [n]) are "shape" and "distance" of the nearest solid, and "count" less one; `distances`
    (float32 [n]) are in scene units. All are known without drawing. The classes of "distance" are the same for every
    seed. Raises UsageError for an impossible count or size.
    """

    source, pixel_format = "scenes", RGB

    def __init__(self, count: int = 20000, seed: int = 0, size: tuple[int, int] = (64, 64)) -> None:
        if count < 1:
            raise UsageError(f"a data set of {count} scenes: give a count of at least 1")
        if len(size) != 2 or min(size) < 8:
            raise UsageError(f"scenes of size {size}: give (rows, columns), at least 8 pixels each")
        shape, number, self.distances = _answers(seed, 0, count)
        self.labels = {"shape": shape, "count": number - 1, "distance": np.searchsorted(EDGES, self.distances)}
        near, far = [NEAREST, *EDGES], [*EDGES, FURTHEST]
        self.classes = {
            "shape": list(SHAPES),
            "count": [str(n) for n in range(1, MOST + 1)],
            "distance": [f"{a:.1f} to {b:.1f}" for a, b in zip(near, far, strict=True)],
        }
        self.seed, self.size, self.indices = seed, size, np.arange(count)
        self.paths = [f"scene-{index:06d}" for index in range(count)]

    def __len__(self) -> int:
        return len(self.indices)

    def scene(self, index: int) -> Scene:
        """The picture with all that is known of it."""
        return draw_scene(self.seed, int(self.indices[index]), self.size)

    def load(self, index: int) -> Image.Image:
        """The picture, mode "RGB"."""
        return Image.fromarray(self.scene(index).image)

    def depth(self, index: int) -> np.ndarray:
        """Depth along the viewing axis, float32 [H, W], in scene units; inf in the sky."""
        return self.scene(index).depth

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Scenes":
        """The same scenes under new numbers: item k of the subset is item indices[k] of this data set."""
        chosen, view = np.asarray(indices, np.int64), copy.copy(self)
        view.paths = [self.paths[k] for k in chosen]
        view.indices, view.distances = self.indices[chosen], self.distances[chosen]
        view.labels = {name: values[chosen] for name, values in self.labels.items()}
        return view


def draw_scene(seed: int, index: int, size: tuple[int, int] = (64, 64)) -> Scene:
    """Draw scene `index` (0 or more) of the series `seed` in `size` (rows, columns) pixels.

    The middle square of the frame shows the same at every size; a wider or taller frame shows more around it.
    """
    shape, count, distance = (answer[0].item() for answer in _answers(seed, index, 1))
    world = _world(seed, index, shape, count, distance)
    solids = tuple(SHAPES.index(solid.shape) for solid in world.solids)
    return Scene(*render(world, size), count, shape, distance, solids)


def _answers(seed: int, start: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shape (int64), count (int64) and distance (float32) of scenes start to start + n: a scene is one Philox block."""
    rng = generator(seed, SCENE_LABELS)
    rng.bit_generator.advance(start)  # type: ignore[attr-defined]  # Philox has it
    draws = rng.random((n, 4))
    distance = NEAREST * (FURTHEST / NEAREST) ** draws[:, 2]
    return (
        (draws[:, 0] * len(SHAPES)).astype(np.int64),
        (draws[:, 1] * MOST).astype(np.int64) + 1,
        distance.astype(np.float32),
    )


def _world(seed: int, index: int, shape: int, count: int, distance: float) -> World:
    rng = generator(seed, SCENE_LAYOUTS, index)
    eye = 1.6 * (2.7 / 1.6) ** rng.random()
    top = _top_of_frame(rng, eye)
    solids = _solids(rng, eye, SHAPES[shape], count, distance)
    height, azimuth = rng.uniform(0.42, 0.85), rng.uniform(0, 2 * pi)
    level = sqrt(1 - height * height)
    theme, other = rng.choice(len(THEMES), 2, replace=False)
    sky, ground = (THEMES[theme] + (THEMES[other] - THEMES[theme]) * part for part in rng.uniform(0, 0.5, 2).tolist())
    return World(
        eye=eye,
        tilt=top - 0.5,
        sun=(level * cos(azimuth), height, level * sin(azimuth)),
        sunlight=sky[4] * rng.uniform(0.9, 1.2),
        zenith=sky[0],
        horizon=sky[1],
        ground=ground[2:4],
        fog=rng.uniform(0.02, 0.042),
        tile=rng.uniform(0.8, 1.6),
        turn=rng.uniform(0, pi / 2),
        shift=(2 * rng.random(), 2 * rng.random()),
        solids=tuple(solids),
    )


def _top_of_frame(rng: np.random.Generator, eye: float) -> float:
    """The slope of the frame's upper edge: any that leaves room for the horizon and for a solid at NEAREST."""
    tallest = max(height * (1 + spread) for _, height, spread in PROPORTIONS.values()) * SIZES[1]
    return rng.uniform(max(tallest - eye, 0) / NEAREST + 0.03, 0.97 - eye / NEAREST)


@dataclass
class _Standing:
    solid: Solid
    box: tuple[float, float, float, float]
    hidden: float = 0.0

    @property
    def area(self) -> float:
        return (self.box[1] - self.box[0]) * (self.box[3] - self.box[2])


def _solids(rng: np.random.Generator, eye: float, shape: str, count: int, distance: float) -> list[Solid]:
    """The nearest solid, then the others wherever chance puts them, each in full view or nearly so."""
    paints = [PAINTS[k] for k in rng.permutation(len(PAINTS))[:count]]
    for _ in range(LAYOUTS):
        nearest = _draw_solid(rng, shape, distance, paints[0])
        standing = [_Standing(nearest, silhouette(nearest, eye))]
        if all(_place(rng, standing, eye, distance, paint) for paint in paints[1:]):
            return [s.solid for s in standing]
    return _in_columns(rng, nearest, paints[1:])


def _place(rng: np.random.Generator, standing: list[_Standing], eye: float, distance: float, paint: Vector) -> bool:
    """Add a solid further than `distance`, if one of a few at random can stand."""
    for _ in range(TRIES):
        kind, front = rng.random(2).tolist()
        solid = _draw_solid(rng, SHAPES[int(kind * len(SHAPES))], distance + 0.3 + (BACK - distance) * front, paint)
        if _join(standing, solid, eye):
            return True
    return False


def _draw_solid(rng: np.random.Generator, shape: str, front: float, paint: Vector) -> Solid:
    """A solid whose nearest point is at depth `front`, of any size, anywhere between the frame's sides."""
    size, turn, side, grow, gloss = rng.random(5).tolist()
    radius, height, spread = PROPORTIONS[shape]
    size = SIZES[0] * (SIZES[1] / SIZES[0]) ** size
    height, yaw = height * size * (1 + spread * (2 * grow - 1)), (0.22 + 0.56 * turn) * pi / 2
    solid = Solid(shape, 0.0, 0.0, radius * size, height, yaw, paint, 0.6 * gloss * gloss)
    solid.z = front + solid.extent
    solid.x = (2 * side - 1) * _room(solid)
    return solid


def _room(solid: Solid) -> float:
    """How far to the side the solid can stand within the frame."""
    return MARGIN * solid.z - solid.reach * sqrt(1 + MARGIN**2)


def _in_columns(rng: np.random.Generator, nearest: Solid, paints: list[Vector]) -> list[Solid]:
    """A layout that always exists: the nearest solid at one side, each other far enough to fit a strip of its own."""
    side = 1 if nearest.x > 0 else -1
    front, nearest.x = nearest.z - nearest.extent, side * _room(nearest)
    strip = (MARGIN + min(side * slope for slope in tangents(nearest.x, nearest.z, nearest.reach))) / len(paints)
    solids = [nearest]
    for k, paint in enumerate(paints):
        solid = _draw_solid(rng, SHAPES[rng.integers(len(SHAPES))], front + 0.3, paint)
        slope = side * (strip * (k + 0.5) - MARGIN)
        solid.z = max(solid.z, solid.reach * (1 + 2 * hypot(1, slope) / strip))
        solid.x = slope * solid.z
        solids.append(solid)
    return solids


def _join(standing: list[_Standing], solid: Solid, eye: float) -> bool:
    """Add `solid` unless it touches another, or one would be hidden by more than `HIDDEN`."""
    new, covers = _Standing(solid, silhouette(solid, eye)), []
    for old in standing:
        if hypot(old.solid.x - solid.x, old.solid.z - solid.z) < old.solid.reach + solid.reach + 0.1:
            return False
        shared, behind = _shared(new.box, old.box), solid.z > old.solid.z
        new.hidden += shared * behind
        covers.append(shared * (not behind))
        if max(new.hidden / new.area, (old.hidden + covers[-1]) / old.area) > HIDDEN:
            return False
    for old, cover in zip(standing, covers, strict=True):
        old.hidden += cover
    standing.append(new)
    return True


def _shared(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return max(min(a[1], b[1]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[2], b[2]), 0.0)
