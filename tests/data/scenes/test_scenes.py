"""The drawn scenes: their labels are true, balanced, visible, and not to be had from colour."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from openjepa.data.scenes import scenes as module
from openjepa.data.scenes.render import render
from openjepa.data.scenes.scenes import EDGES, FURTHEST, NEAREST, Scenes, draw_scene
from openjepa.data.scenes.solids import MISS, SHAPES, Solid, cast, shadow, silhouette
from openjepa.errors import UsageError

FINGERPRINT = """
import hashlib
from openjepa.data.scenes.scenes import draw_scene
for index in (3, 11):
    scene = draw_scene(5, index, (48, 48))
    print(hashlib.sha256(scene.image.tobytes()).hexdigest(), scene.count, scene.shape, scene.distance)
"""


def world(seed: int, index: int):
    scene = draw_scene(seed, index, (8, 8))
    return module._world(seed, index, scene.shape, scene.count, scene.distance)


def inside(solid: Solid, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether points are in the solid, from its definition."""
    x, z = x - solid.x, z - solid.z
    axis, between = np.hypot(x, z), (y >= 0) & (y <= solid.height)
    if solid.shape == "sphere":
        return axis**2 + (y - solid.radius) ** 2 <= solid.radius**2
    if solid.shape == "torus":
        return np.hypot(axis - solid.radius, y - solid.height / 2) <= solid.height / 2
    if solid.shape == "cylinder":
        return between & (axis <= solid.radius)
    if solid.shape == "cone":
        return between & (axis <= solid.radius * (1 - y / solid.height))
    turned = (x + 1j * z) * np.exp(-1j * solid.yaw)
    return between & (np.maximum(abs(turned.real), abs(turned.imag)) <= solid.radius)


def some_solids(shape: str, n: int = 4) -> list[tuple[Solid, float]]:
    rng = np.random.default_rng(SHAPES.index(shape))
    draw = module._draw_solid
    return [(draw(rng, shape, rng.uniform(3, 12), (0.5, 0.5, 0.5)), rng.uniform(1.6, 2.7)) for _ in range(n)]


@pytest.mark.parametrize("shape", SHAPES)
def test_rays_meet_a_solid_where_its_definition_says(shape: str) -> None:
    for solid, eye in some_solids(shape):
        left, right, bottom, top = silhouette(solid, eye)
        u, v = np.linspace(left - 0.02, right + 0.02, 30)[None], np.linspace(top + 0.02, bottom - 0.02, 30)[:, None]
        depth, normal = cast(solid, eye, u.astype(np.float32), v.astype(np.float32))
        along = np.linspace(solid.z - solid.reach, solid.z + solid.reach, 2000)
        within = inside(solid, u[..., None] * along, eye + v[..., None] * along, along)
        expected = np.where(within.any(-1), along[within.argmax(-1)], MISS)
        assert (abs(depth - expected) < 0.01).mean() > 0.99
        outside = (u < left) | (u > right) | (v > top) | (v < bottom)
        assert (depth[outside] == MISS).all()

        hit = depth < MISS
        at = [a[hit] for a in (u * depth, eye + v * depth, depth)]
        out, into = ([a + step * n[hit] for a, n in zip(at, normal, strict=True)] for step in (1e-3, -1e-3))
        assert (inside(solid, *into) & ~inside(solid, *out)).mean() > 0.99
        assert np.allclose(np.hypot(np.hypot(normal[0], normal[1]), normal[2])[hit], 1, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_shadows_fall_where_the_way_to_the_sun_is_blocked(shape: str) -> None:
    rng, shaded = np.random.default_rng(1), 0
    for solid, _ in some_solids(shape):
        height, azimuth = rng.uniform(0.42, 0.85), rng.uniform(0, 2 * np.pi)
        level = np.sqrt(1 - height**2)
        sun = (level * np.cos(azimuth), height, level * np.sin(azimuth))
        x, y, z = rng.uniform((-2.5, 0, -2.5), (2.5, 1, 2.5), (1500, 3)).T + np.array([[solid.x], [0], [solid.z]])
        y[::2] = 0
        apart = np.hypot(x - solid.x, z - solid.z) > solid.reach + 0.01
        way = np.linspace(0, 5, 800)
        path = (a[apart, None] + s * way for a, s in zip((x, y, z), sun, strict=True))
        blocked = inside(solid, *path).any(-1)
        hidden = shadow(solid, sun, x[apart], y[apart], z[apart])
        clear_cut = abs(hidden - 0.5) > 0.2
        assert ((hidden > 0.5) == blocked)[clear_cut].mean() > 0.99
        shaded += blocked.sum()
    assert shaded > 100


def test_the_same_in_another_process() -> None:
    printed = subprocess.run([sys.executable, "-c", FINGERPRINT], capture_output=True, text=True, check=True).stdout
    for index, line in zip((3, 11), printed.splitlines(), strict=True):
        scene = draw_scene(5, index, (48, 48))
        digest = hashlib.sha256(scene.image.tobytes()).hexdigest()
        assert line == f"{digest} {scene.count} {scene.shape} {scene.distance}"


def test_size_changes_neither_the_labels_nor_the_middle_of_the_frame() -> None:
    small, wide, tall = (draw_scene(2, 6, size) for size in ((64, 64), (64, 128), (160, 64)))
    assert (small.count, small.shape, small.distance) == (wide.count, wide.shape, wide.distance)
    for part in (wide.image[:, 32:96], tall.image[48:112]):
        assert abs(part.astype(int) - small.image).max() <= 1
    coarse = draw_scene(2, 6, (32, 32)).image.astype(float)
    assert abs(small.image.reshape(32, 2, 32, 2, 3).mean((1, 3)) - coarse).mean() < 2


def test_labels_describe_the_pictures() -> None:
    data = Scenes(60, seed=4, size=(128, 128))
    for index in range(len(data)):
        scene, place = data.scene(index), world(4, index)
        solid = place.solids[0]
        assert solid.shape == data.classes["shape"][data.labels["shape"][index]]
        assert set(np.unique(scene.owner)) - {0} == set(range(1, data.labels["count"][index] + 2))
        nearest = np.where(scene.owner > 0, scene.depth, np.inf)
        assert -1e-3 < nearest.min() - data.distances[index] < 0.05
        assert scene.owner.flat[nearest.argmin()] == 1


def test_depth_of_ground_and_sky() -> None:
    place, scene = world(4, 9), draw_scene(4, 9, (96, 96))
    lowest_sample = place.tilt + 0.5 - (np.arange(96) + 0.75) / 96
    ground = np.where(lowest_sample < 0, place.eye / -np.minimum(lowest_sample, -1e-9), np.inf)
    background = scene.owner == 0
    expected = np.broadcast_to(ground[:, None], scene.depth.shape)[background]
    assert np.allclose(scene.depth[background], expected, rtol=1e-3)


@pytest.mark.parametrize("tries", [module.TRIES, 0], ids=["at random", "last resort"])
def test_every_solid_can_be_seen(tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", tries)
    for index in range(80):
        place = world(7, index)
        _, _, owner = render(place, (96, 96))
        for number, solid in enumerate(place.solids, 1):
            alone = render(replace(place, solids=(solid,)), (96, 96))[2] == 1
            assert not (alone[0].any() or alone[-1].any() or alone[:, 0].any() or alone[:, -1].any())
            assert (owner == number).sum() >= max(0.3 * alone.sum(), 12)
        fronts = [solid.z - solid.extent for solid in place.solids]
        assert min(fronts[1:], default=MISS) - fronts[0] > 0.29


def test_labels_are_balanced_and_independent() -> None:
    data = Scenes(20000, seed=1)
    tables = {name: np.eye(len(data.classes[name]))[values] for name, values in data.labels.items()}
    for name, table in tables.items():
        fraction = table.mean(0) * table.shape[1]
        assert abs(fraction - 1).max() < 0.06, name
    for a, b in (("shape", "count"), ("shape", "distance"), ("count", "distance")):
        together = tables[a].T @ tables[b] / len(data)
        assert abs(together * together.size - 1).max() < 0.2, (a, b)
    assert np.allclose(np.quantile(data.distances, np.arange(1, 6) / 6), EDGES, rtol=0.02)
    assert data.distances.min() >= NEAREST and data.distances.max() <= FURTHEST


def test_mean_colour_does_not_tell_the_shape() -> None:
    data = Scenes(1600, seed=2, size=(16, 16))
    pictures = np.stack([np.asarray(data.load(i), np.float64) for i in range(len(data))]).reshape(len(data), -1, 3)
    colour = np.concatenate([pictures.mean(1), pictures.std(1), np.ones((len(data), 1))], 1)
    colour /= colour.max(0)
    train, test = slice(0, 1000), slice(1000, None)
    target = np.eye(len(SHAPES))[data.labels["shape"]]
    weights = np.linalg.solve(colour[train].T @ colour[train] + 1e-2 * np.eye(7), colour[train].T @ target[train])
    accuracy = ((colour[test] @ weights).argmax(1) == data.labels["shape"][test]).mean()
    assert accuracy < 1 / len(SHAPES) + 4 * np.sqrt(0.16 / 600)


def test_a_subset_is_the_same_scenes() -> None:
    data = Scenes(50, seed=3, size=(16, 16))
    view = data.subset([40, 7]).subset([1])
    assert len(view) == 1 and view.paths == ["scene-000007"] and data.paths[7] == "scene-000007"
    assert all(view.labels[name].tolist() == [data.labels[name][7]] for name in data.labels)
    assert view.load(0).mode == "RGB" and view.load(0).tobytes() == data.load(7).tobytes()
    assert np.array_equal(view.depth(0), data.depth(7)) and view.distances[0] == data.distances[7]
    longer = Scenes(60, seed=3)
    assert all(np.array_equal(longer.labels[name][:50], data.labels[name]) for name in data.labels)


@pytest.mark.parametrize(("arguments", "words"), [({"count": 0}, "at least 1"), ({"size": (64, 4)}, "8 pixels")])
def test_refusals_in_words(arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Scenes(**arguments)
