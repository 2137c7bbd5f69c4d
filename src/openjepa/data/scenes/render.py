"""Pictures of solids on a lit ground under a sky, by casting the rays of each solid's own part of the frame."""

from dataclasses import dataclass
from math import cos, hypot, sin

import numpy as np
from numpy import ndarray

from openjepa.data.scenes.solids import MISS, Normal, Solid, Vector, cast, shadow, silhouette

Box = tuple[slice, slice]
Light = tuple[ndarray, ndarray]
CLOSE = 1.9  # how many times its reach a solid takes sky from the ground
FILM_STEPS = 4096


@dataclass(frozen=True)
class World:
    """All that a picture depends on but its size; lengths in scene units, colours float32 [3] of linear RGB.

    `eye` is the camera's height. `tilt` is the slope at which the middle of the frame looks; the frame's shorter side
    spans slopes of -0.5 to 0.5 around it. `sun` is the unit vector towards the sun. `ground` (float32 [2, 3]) are the
    colours of a checkerboard with squares of side `tile`, turned by `turn` radians and moved by `shift` squares. At the
    depth 1 / `fog`, a fraction 1 - 1/e of the colour is haze.
    """

    eye: float
    tilt: float
    sun: Vector
    sunlight: ndarray
    zenith: ndarray
    horizon: ndarray
    ground: ndarray
    fog: float
    tile: float
    turn: float
    shift: tuple[float, float]
    solids: tuple[Solid, ...]


@dataclass
class _Canvas:
    """Four samples a pixel: slopes u [1, w] and v [h, 1], light [3, h, w], and depth and owner [h, w]."""

    u: ndarray
    v: ndarray
    light: ndarray
    depth: ndarray
    owner: ndarray


def render(world: World, size: tuple[int, int]) -> tuple[ndarray, ndarray, ndarray]:
    """Draw `world` in (rows, columns) pixels of four samples each.

    Returns the image, uint8 [H, W, 3]; the depth along the viewing axis of the nearest sample of each pixel, float32
    [H, W], inf in the sky; and what that sample shows, uint8 [H, W]: 0 the background, k the solid k - 1.
    """
    canvas = _blank(world, size)
    horizon = int((canvas.v > 0).sum())
    _paint_sky(world, canvas, horizon)
    _paint_ground(world, canvas, horizon)
    for number, solid in enumerate(world.solids, 1):
        _paint_solid(world, canvas, number, solid)
    return _develop(canvas)


def _blank(world: World, size: tuple[int, int]) -> _Canvas:
    h, w = 2 * size[0], 2 * size[1]
    step = 1 / min(h, w)
    u = (np.arange(w) + 0.5 - w / 2) * step
    v = world.tilt - (np.arange(h) + 0.5 - h / 2) * step
    v[np.abs(v) < 1e-5] = -1e-5
    light, depth = np.empty((3, h, w), np.float32), np.full((h, w), MISS, np.float32)
    return _Canvas(u.astype(np.float32)[None], v.astype(np.float32)[:, None], light, depth, np.zeros((h, w), np.uint8))


def _mix(*lights: Light) -> ndarray:
    """The sum [3, h, w] of colours [3], each in its own amount [h, w]."""
    amounts = np.empty((len(lights), *lights[0][1].shape), np.float32)
    for k, (_, amount) in enumerate(lights):
        amounts[k] = amount
    colors = np.array([color for color, _ in lights], np.float32).T
    return (colors @ amounts.reshape(len(lights), -1)).reshape(3, *amounts.shape[1:])


def _glow(world: World, u: ndarray, v: ndarray | float) -> ndarray:
    """How much the sun brightens the sky around it."""
    sx, sy, sz = world.sun
    facing = (u * sx + (v * sy + sz)) / np.sqrt(u * u + (v * v + 1))
    return 0.4 * np.exp(6 * (facing - 1))


def _veil(world: World, depth: ndarray) -> ndarray:
    """The fraction of haze in the colour at a depth."""
    far = depth * world.fog
    return 1 - np.exp(-far * np.sqrt(far))


def _haze(world: World, u: ndarray, veil: ndarray) -> tuple[Light, Light]:
    """Haze has the colour of the sky at the horizon, so that the ground ends in the sky without an edge."""
    return (world.sunlight, veil * _glow(world, u, 0.0)), (world.horizon, veil)


def _skylight(world: World) -> ndarray:
    return 0.32 * (world.zenith + world.horizon)


def _paint_sky(world: World, canvas: _Canvas, horizon: int) -> None:
    v = canvas.v[:horizon]
    height = 1 - np.exp(-3.5 * v)
    glow = _glow(world, canvas.u, v)
    canvas.light[:, :horizon] = _mix((world.sunlight, glow), (world.horizon, 1 - height), (world.zenith, height))


def _paint_ground(world: World, canvas: _Canvas, horizon: int) -> None:
    z = world.eye / -canvas.v[horizon:]
    x = canvas.u * z
    veil = _veil(world, z)
    lit = np.repeat(1 - veil, x.shape[1], axis=1)
    ambient = lit.copy()
    for solid in world.solids:
        box = _neighbourhood(world, solid, canvas.u[0], z[:, 0])
        lit[box] *= 1 - shadow(solid, world.sun, x[box], 0.0, z[box[0]])
        ambient[box] *= _openness(solid, x[box], z[box[0]])
    checker = _checker(world, canvas, x, z)
    canvas.depth[horizon:] = z
    canvas.light[:, horizon:] = _mix(
        (world.ground[0] * world.sunlight * world.sun[1], lit * checker),
        (world.ground[1] * world.sunlight * world.sun[1], lit - lit * checker),
        (world.ground[0] * _skylight(world), ambient * checker),
        (world.ground[1] * _skylight(world), ambient - ambient * checker),
        *_haze(world, canvas.u, veil),
    )


def _neighbourhood(world: World, solid: Solid, u: ndarray, z: ndarray) -> Box:
    """The part of the ground's picture, of slopes u [w] and falling depths z [h], that a solid can darken."""
    spread, tip = CLOSE * solid.reach, solid.height / world.sun[1]
    ends_x, ends_z = (solid.x, solid.x - world.sun[0] * tip), (solid.z, solid.z - world.sun[2] * tip)
    left, right, near, far = min(ends_x) - spread, max(ends_x) + spread, min(ends_z) - spread, max(ends_z) + spread
    near = max(near, 0.5)
    rows = np.searchsorted(-z, (-far, -near))
    columns = np.searchsorted(u, (min(left / near, left / far), max(right / near, right / far)))
    return slice(*rows), slice(*columns)


def _openness(solid: Solid, x: ndarray, z: ndarray) -> ndarray:
    """The fraction of the sky's light that reaches the ground close to a solid; an approximation by eye."""
    away = (x - solid.x) ** 2 + (z - solid.z) ** 2
    close = np.maximum(1 - away / (CLOSE * solid.reach) ** 2, 0)
    return 1 - 0.75 * close * close


def _checker(world: World, canvas: _Canvas, x: ndarray, z: ndarray) -> ndarray:
    """A checkerboard averaged over the pixel's own width on the ground, so that it melts into grey far away."""
    c, s = cos(world.turn) / world.tile, sin(world.turn) / world.tile
    step = 2 * abs(float(canvas.v[0, 0] - canvas.v[1, 0]))
    across, deep = z * step, z * z * (step / world.eye)
    first = _stripes(x * c + (z * s + world.shift[0]), across * abs(c) + deep * abs(s))
    second = _stripes((z * c + world.shift[1]) - x * s, across * abs(s) + deep * abs(c))
    return 0.5 - 0.5 * first * second


def _stripes(at: ndarray, width: ndarray) -> ndarray:
    """The mean over `width` of stripes that are +1 and -1 in turn, by the difference of their integral."""
    low, high = (at - width / 2) / 2, (at + width / 2) / 2
    low, high = low - np.floor(low), high - np.floor(high)
    return 2 * (np.abs(low - 0.5) - np.abs(high - 0.5)) / width


def _paint_solid(world: World, canvas: _Canvas, number: int, solid: Solid) -> None:
    left, right, bottom, top = silhouette(solid, world.eye)
    columns = slice(*np.searchsorted(canvas.u[0], (left, right)))
    rows = slice(*np.searchsorted(-canvas.v[:, 0], (-top, -bottom)))
    box = rows, columns
    u, v = canvas.u[:, columns], canvas.v[rows]
    depth, normal = cast(solid, world.eye, u, v)
    seen = depth < canvas.depth[box]
    np.copyto(canvas.light[:, *box], _shade(world, solid, u, v, depth, normal), where=seen)
    np.copyto(canvas.depth[box], depth, where=seen)
    canvas.owner[box][seen] = number


def _shade(world: World, solid: Solid, u: ndarray, v: ndarray, depth: ndarray, normal: Normal) -> ndarray:
    """The light [3, h, w] that a solid sends to the camera: sun, a sky brighter towards it, ground, highlight, haze."""
    y = world.eye + v * depth
    lit = _sunlit(world, solid, u * depth, y, depth)
    toward = _dot(normal, world.sun)
    shine = _highlight(world, u, v, normal, toward) * lit * solid.gloss
    above = (0.5 + 0.5 * normal[1]) * (0.45 + 0.55 * np.clip(y / solid.height, 0, 1)) * (1 + 0.45 * toward)
    veil = _veil(world, depth)
    clear, color = 1 - veil, np.asarray(solid.color, np.float32)
    bounce = 0.7 * world.ground.mean(0) * (world.sunlight * world.sun[1] + _skylight(world))
    return _mix(
        (color * world.sunlight, np.maximum(toward, 0) * lit * clear),
        (color * _skylight(world), above * clear),
        (color * bounce, (0.5 - 0.5 * normal[1]) * clear),
        (world.sunlight, shine * clear),
        *_haze(world, u, veil),
    )


def _dot(a: Normal, b: Normal | Vector) -> ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _highlight(world: World, u: ndarray, v: ndarray, normal: Normal, toward: ndarray) -> ndarray:
    """The cosine between the normal and the half-way vector to the power of 32 (Blinn 1977)."""
    near = 1 / np.sqrt(u * u + (v * v + 1))
    facing = (normal[0] * u + normal[1] * v + normal[2]) * near
    halfway = np.sqrt(np.maximum(2 - 2 * near * (u * world.sun[0] + (v * world.sun[1] + world.sun[2])), 1e-3))
    shine = np.clip((toward - facing) / halfway, 0, 1)
    for _ in range(5):
        shine = shine * shine
    return shine


def _sunlit(world: World, solid: Solid, x: ndarray, y: ndarray, z: ndarray) -> ndarray | float:
    """The fraction of the sun that the other solids do not hide from points of this one."""
    lit: ndarray | float = 1.0
    for other in world.solids:
        if other is not solid and _may_shade(world, other, solid):
            lit = lit * (1 - shadow(other, world.sun, x, y, z))
    return lit


def _may_shade(world: World, blocker: Solid, solid: Solid) -> bool:
    """Whether the blocker's shadow on the ground, a strip with round ends at most, comes near the solid."""
    dx, dz = blocker.x - solid.x, blocker.z - solid.z
    sx, sz = world.sun[0] / world.sun[1], world.sun[2] / world.sun[1]
    along = min(max((dx * sx + dz * sz) / (sx * sx + sz * sz), 0), blocker.height)
    return hypot(dx - sx * along, dz - sz * along) < blocker.reach + solid.reach + 0.03 + 0.1 * along


def _develop(canvas: _Canvas) -> tuple[ndarray, ndarray, ndarray]:
    """From samples to pixels: the mean of their light, the depth and owner of the nearest."""
    quarters = [(slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]
    light = canvas.light[:, *quarters[0]].copy()
    depth, owner = canvas.depth[quarters[0]].copy(), canvas.owner[quarters[0]].copy()
    for q in quarters[1:]:
        light += canvas.light[:, *q]
        nearer = canvas.depth[q] < depth
        np.copyto(depth, canvas.depth[q], where=nearer)
        np.copyto(owner, canvas.owner[q], where=nearer)
    depth[depth >= MISS] = np.inf
    index = np.minimum(light * (FILM_STEPS / 4), _FILM.size - 1).astype(np.intp)
    return np.ascontiguousarray(_FILM[index].transpose(1, 2, 0)), depth, owner


def _film() -> ndarray:
    """Linear light of 0 to 4, in steps, to uint8: a soft shoulder above 0.7, then the sRGB curve (IEC 61966-2-1)."""
    light, knee = np.arange(4 * FILM_STEPS) / FILM_STEPS, 0.7
    light = np.where(light < knee, light, 1 - (1 - knee) * np.exp((knee - light) / (1 - knee)))
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


_FILM = _film()
