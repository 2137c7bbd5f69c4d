"""Pictures of solids on a lit ground under a sky, by casting the rays of each solid's own part of the frame."""

from dataclasses import dataclass
from math import cos, hypot, sin

import numpy as np
from numpy import ndarray

from openjepa.data.solids import MISS, Solid, Vector, cast, shadow, silhouette

Box = tuple[slice, slice]


@dataclass(frozen=True)
class World:
    """All that a picture depends on but its size; lengths in scene units, colours in linear RGB, `sun` a unit vector.

    `eye` is the camera's height; `tilt` the slope at which the middle of the frame looks, whose shorter side spans
    slopes of `tilt` -+ 0.5. `fog` is the inverse of the depth at which a share 1 - 1/e is fog.
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
    solids: tuple[Solid, ...]


@dataclass
class _Canvas:
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


def _glow(world: World, u: ndarray, v: ndarray | float) -> ndarray:
    sx, sy, sz = world.sun
    facing = (u * sx + (v * sy + sz)) / np.sqrt(u * u + (v * v + 1))
    return 0.4 * np.exp(6 * (facing - 1))


def _haze(world: World, u: ndarray, veil: ndarray) -> tuple[tuple[ndarray, ndarray], tuple[ndarray, ndarray]]:
    """A veil in the colour that the sky has at the horizon: two lights for `_mix`."""
    return (world.sunlight, veil * _glow(world, u, 0.0)), (world.horizon, veil)


def _mix(*lights: tuple[ndarray, ndarray]) -> ndarray:
    """The sum [3, h, w] of colours [3], each in its own amount [h, w]."""
    amounts = np.empty((len(lights), *lights[0][1].shape), np.float32)
    for k, (_, amount) in enumerate(lights):
        amounts[k] = amount
    colors = np.array([color for color, _ in lights], np.float32).T
    return (colors @ amounts.reshape(len(lights), -1)).reshape(3, *amounts.shape[1:])


def _veil(world: World, depth: ndarray) -> ndarray:
    far = depth * world.fog
    return 1 - np.exp(-far * np.sqrt(far))


def _paint_sky(world: World, canvas: _Canvas, horizon: int) -> None:
    v = canvas.v[:horizon]
    height = 1 - np.exp(-3.5 * v)
    glow = _glow(world, canvas.u, v)
    canvas.light[:, :horizon] = _mix((world.sunlight, glow), (world.horizon, 1 - height), (world.zenith, height))


def _paint_ground(world: World, canvas: _Canvas, horizon: int) -> None:
    z = world.eye / -canvas.v[horizon:]
    x = canvas.u * z
    lit, ambient = np.ones_like(x), np.ones_like(x)
    for solid in world.solids:
        _darken(world, solid, x, z, lit, ambient)
    checker = _checker(world, canvas, x, z)
    veil = _veil(world, z)
    light, dark = world.ground
    lit *= 1 - veil
    ambient *= 1 - veil
    sun, sky = world.sunlight * world.sun[1], _skylight(world)
    canvas.light[:, horizon:] = _mix(
        (light * sun, lit * checker),
        (dark * sun, lit - lit * checker),
        (light * sky, ambient * checker),
        (dark * sky, ambient - ambient * checker),
        *_haze(world, canvas.u, veil),
    )
    canvas.depth[horizon:] = z


def _darken(world: World, solid: Solid, x: ndarray, z: ndarray, lit: ndarray, ambient: ndarray) -> None:
    """Take a solid's shadow from `lit` and its nearness from `ambient`, where on the ground there can be any."""
    spread = solid.reach * 1.9
    tip = solid.height * (1 / world.sun[1])
    ends_x = (solid.x, solid.x - world.sun[0] * tip)
    ends_z = (solid.z, solid.z - world.sun[2] * tip)
    near, far = max(min(ends_z) - spread, 0.5), max(ends_z) + spread
    left, right = min(ends_x) - spread, max(ends_x) + spread
    rows = slice(*np.searchsorted(-z[:, 0], (-far, -near)))
    if rows.start == rows.stop:
        return
    u = x[-1] / z[-1]
    columns = slice(*np.searchsorted(u, (min(left / near, left / far), max(right / near, right / far))))
    box = rows, columns
    px, pz = x[box], z[rows]
    lit[box] *= 1 - shadow(solid, world.sun, px, 0.0, pz)
    away = (px - solid.x) ** 2 + (pz - solid.z) ** 2
    close = np.maximum(1 - away / spread**2, 0)
    ambient[box] *= 1 - 0.75 * close * close


def _checker(world: World, canvas: _Canvas, x: ndarray, z: ndarray) -> ndarray:
    """A checkerboard averaged over the pixel's own width on the ground, so that it melts into grey far away."""
    c, s = cos(world.turn) / world.tile, sin(world.turn) / world.tile
    step = 2 * abs(float(canvas.v[0, 0] - canvas.v[1, 0]))
    across, deep = z * step, z * z * (step / world.eye)
    first = _stripes(x * c + z * s, across * abs(c) + deep * abs(s))
    second = _stripes(z * c - x * s, across * abs(s) + deep * abs(c))
    return 0.5 - 0.5 * first * second


def _stripes(at: ndarray, width: ndarray) -> ndarray:
    """The mean over `width` of stripes that are +1 and -1 in turn, by the difference of their integral."""
    low, high = (at - width / 2) / 2, (at + width / 2) / 2
    low, high = low - np.floor(low), high - np.floor(high)
    return 2 * (np.abs(low - 0.5) - np.abs(high - 0.5)) / width


def _skylight(world: World) -> ndarray:
    return 0.32 * (world.zenith + world.horizon)


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


def _shade(world: World, solid: Solid, u: ndarray, v: ndarray, depth: ndarray, normal: tuple) -> ndarray:
    """The light [3, h, w] that a solid sends to the camera: sun, sky above, ground below, a highlight, and haze."""
    nx, ny, nz = normal
    sx, sy, sz = world.sun
    y = world.eye + v * depth
    lit = _sunlit(world, solid, u * depth, y, depth)
    toward = nx * sx + ny * sy + nz * sz
    direct = np.maximum(toward, 0) * lit
    near = 1 / np.sqrt(u * u + (v * v + 1))
    facing = -(nx * u + ny * v + nz) * near
    half = np.sqrt(np.maximum(2 - 2 * (u * sx + (v * sy + sz)) * near, 1e-3))
    shine = (np.maximum(toward + facing, 0) / half) ** 2
    for _ in range(4):
        shine = shine * shine
    shine *= lit * solid.gloss
    above = (0.5 + 0.5 * ny) * (0.45 + 0.55 * np.clip(y / solid.height, 0, 1))
    below = 0.5 - 0.5 * ny
    veil = _veil(world, depth)
    clear = 1 - veil
    sky, color = _skylight(world), np.asarray(solid.color, np.float32)
    ground = 0.6 * world.ground.mean(0) * (world.sunlight * sy + sky)
    return _mix(
        (color * world.sunlight, direct * clear),
        (color * sky, above * clear),
        (color * ground, below * clear),
        (world.sunlight, shine * clear),
        *_haze(world, u, veil),
    )


def _sunlit(world: World, solid: Solid, x: ndarray, y: ndarray, z: ndarray) -> ndarray | float:
    """The share of the sun that the other solids leave to the points of this one."""
    lit: ndarray | float = 1.0
    for other in world.solids:
        if other is not solid and _may_shade(world, other, solid):
            lit = lit * (1 - shadow(other, world.sun, x, y, z))
    return lit


def _may_shade(world: World, blocker: Solid, solid: Solid) -> bool:
    dx, dz = blocker.x - solid.x, blocker.z - solid.z
    sx, sz = world.sun[0] / world.sun[1], world.sun[2] / world.sun[1]
    along = min(max((dx * sx + dz * sz) / (sx * sx + sz * sz), 0), blocker.height)
    return hypot(dx - sx * along, dz - sz * along) < blocker.reach + solid.reach + 0.03 + 0.1 * along


def _develop(canvas: _Canvas) -> tuple[ndarray, ndarray, ndarray]:
    quarters = [(slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]
    light = sum(canvas.light[:, *q] for q in quarters)
    depth, owner = canvas.depth[quarters[0]].copy(), canvas.owner[quarters[0]].copy()
    for q in quarters[1:]:
        nearer = canvas.depth[q] < depth
        np.copyto(depth, canvas.depth[q], where=nearer)
        np.copyto(owner, canvas.owner[q], where=nearer)
    depth[depth >= MISS] = np.inf
    index = np.minimum(light * (_FILM_STEPS / 4), _FILM.size - 1).astype(np.intp)
    return np.ascontiguousarray(_FILM[index].transpose(1, 2, 0)), depth, owner


def _film(steps: int, top: float) -> ndarray:
    """Linear light to uint8: a soft shoulder above 0.7, then the sRGB curve (IEC 61966-2-1)."""
    light = np.arange(int(steps * top)) / steps
    knee = 0.7
    light = np.where(light < knee, light, 1 - (1 - knee) * np.exp(-(light - knee) / (1 - knee)))
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


_FILM_STEPS = 4096
_FILM = _film(_FILM_STEPS, 4.0)
