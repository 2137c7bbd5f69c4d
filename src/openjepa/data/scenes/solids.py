"""The five solids of the drawn scenes: where a ray meets one, which part of the frame it fills, what shadow it throws.

Coordinates are the camera's: x to the right, y up from the ground, z away from the camera, which stands at
(0, eye, 0). The ray of slopes (u, v) runs through (u z, eye + v z, z), so that its parameter is its depth.
Every solid rests on the ground; sections parallel to the ground are discs, squares or rings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, hypot, sin, sqrt

import numpy as np
from numpy import ndarray

SHAPES = ("sphere", "cube", "cylinder", "cone", "torus")
MISS = 1e6
Vector = tuple[float, float, float]
Normal = tuple[ndarray, ndarray, ndarray]
Hit = tuple[ndarray, Normal]


@dataclass(eq=False)
class Solid:
    """A solid on the ground; lengths in scene units, yaw in radians, colour in linear RGB.

    `radius` is that of a sphere, of a cylinder's or cone's base, half the side of a cube, or from a torus's axis to
    the middle of its tube, whose thickness is `height`. `tube` is the radius of that tube (0 for other shapes), `reach`
    the radius of the upright cylinder around the solid, `extent` how far it comes towards the camera from its axis.
    """

    shape: str
    x: float
    z: float
    radius: float
    height: float
    yaw: float = 0.0
    color: Vector = (0.5, 0.5, 0.5)
    gloss: float = 0.0

    def __post_init__(self) -> None:
        self.tube = self.height / 2 if self.shape == "torus" else 0.0
        self.reach = self.extent = self.radius + self.tube
        if self.shape == "cube":
            self.reach = self.radius * sqrt(2)
            self.extent = self.radius * (abs(cos(self.yaw)) + abs(sin(self.yaw)))


def tangents(centre: float, z: float, radius: float) -> tuple[float, float]:
    """The slopes of the two lines through the origin that touch the disc around (centre, z)."""
    root = radius * sqrt(centre * centre + z * z - radius * radius)
    below = z * z - radius * radius
    return (centre * z - root) / below, (centre * z + root) / below


def silhouette(solid: Solid, eye: float) -> tuple[float, float, float, float]:
    """A box around its picture: (left, right, bottom, top) in slopes, of the sphere itself or of a cylinder around."""
    left, right = tangents(solid.x, solid.z, solid.reach)
    if solid.shape == "sphere":
        return left, right, *tangents(solid.radius - eye, solid.z, solid.radius)
    near, far, rise = solid.z - solid.reach, solid.z + solid.reach, solid.height - eye
    peak = max(rise / solid.z, -eye / far) if solid.shape == "cone" else max(rise / near, rise / far)
    return left, right, -eye / near, peak


def cast(solid: Solid, eye: float, u: ndarray, v: ndarray) -> Hit:
    """Depth [h, w] where rays of slopes u [1, w] and v [h, 1] (none 0) meet the solid, MISS elsewhere; the normal."""
    return _CASTS[solid.shape](solid, eye, u, v)


def shadow(solid: Solid, sun: Vector, x: ndarray, y: ndarray | float, z: ndarray) -> ndarray:
    """The fraction of a wide sun, in the direction `sun`, that the solid hides from points outside of it.

    A ray that leaves its blocker behind by `gap` sees less of the sun the further away the blocker is.
    """
    gap, rise = _GAPS[solid.shape](solid, sun, x - solid.x, y, z - solid.z)
    hidden = np.clip(0.5 - gap / (0.06 + 0.2 * rise), 0, 1)
    return hidden * hidden * (3 - 2 * hidden)


def _cast_sphere(solid: Solid, eye: float, u: ndarray, v: ndarray) -> Hit:
    up = solid.radius - eye
    square = u * u + (v * v + 1)
    half = u * solid.x + (v * up + solid.z)
    inside = half * half - square * (solid.x**2 + up**2 + solid.z**2 - solid.radius**2)
    depth = np.where(inside > 0, (half - np.sqrt(np.maximum(inside, 0))) / square, MISS)
    scale = 1 / solid.radius
    return depth, ((u * depth - solid.x) * scale, (v * depth - up) * scale, (depth - solid.z) * scale)


def _cast_cylinder(solid: Solid, eye: float, u: ndarray, v: ndarray) -> Hit:
    enter, leave = _cross_disc(solid, u, solid.radius)
    normal = (u * enter - solid.x) / solid.radius, (enter - solid.z) / solid.radius
    return _cast_prism(solid, eye, v, enter, leave, normal)


def _cast_cube(solid: Solid, eye: float, u: ndarray, v: ndarray) -> Hit:
    c, s = cos(solid.yaw), sin(solid.yaw)
    enter, leave, side = [], [], []
    for ax, az in ((c, s), (-s, c)):
        toward = u * ax + az
        toward = np.where(np.abs(toward) < 1e-6, np.float32(1e-6), toward)
        middle, half = (solid.x * ax + solid.z * az) / toward, np.abs(solid.radius / toward)
        enter.append(middle - half)
        leave.append(middle + half)
        side.append((-np.sign(toward) * ax, -np.sign(toward) * az))
    first = enter[0] > enter[1]
    normal = np.where(first, side[0][0], side[1][0]), np.where(first, side[0][1], side[1][1])
    return _cast_prism(solid, eye, v, np.maximum(*enter), np.minimum(*leave), normal)


def _cross_disc(solid: Solid, u: ndarray, radius: float) -> tuple[ndarray, ndarray]:
    """The depths at which a ray enters and leaves an upright cylinder, (MISS, -MISS) where it does not."""
    square, half = u * u + 1, u * solid.x + solid.z
    inside = half * half - square * (solid.x**2 + solid.z**2 - radius**2)
    root = np.sqrt(np.maximum(inside, 0))
    return np.where(inside > 0, (half - root) / square, MISS), np.where(inside > 0, (half + root) / square, -MISS)


def _cross_slab(solid: Solid, eye: float, v: ndarray) -> tuple[ndarray, ndarray]:
    """The depths at which a ray enters and leaves the layer between the ground and the solid's top."""
    base, top = -eye / v, (solid.height - eye) / v
    return np.minimum(base, top), np.maximum(base, top)


def _cast_prism(
    solid: Solid, eye: float, v: ndarray, enter: ndarray, leave: ndarray, normal: tuple[ndarray, ndarray]
) -> Hit:
    """An upright prism is where a ray is both between its walls (by column) and between its lids (by row)."""
    low, high = _cross_slab(solid, eye, v)
    depth = np.maximum(enter, low)
    depth[depth >= np.minimum(leave, high)] = MISS
    wall = enter > low
    return depth, (normal[0] * wall, np.float32(1) - wall, normal[1] * wall)


def _cast_cone(solid: Solid, eye: float, u: ndarray, v: ndarray) -> Hit:
    taper, up = solid.radius / solid.height, solid.height - eye
    square = u * u + (1 - taper**2 * v * v)
    half = u * solid.x + (solid.z - taper**2 * up * v)
    inside = half * half - square * (solid.x**2 + solid.z**2 - (taper * up) ** 2)
    depth = (half - np.sqrt(np.maximum(inside, 0))) / square
    low, high = _cross_slab(solid, eye, v)
    depth[(inside <= 0) | (depth < low) | (depth > high)] = MISS
    x, z = u * depth - solid.x, depth - solid.z
    scale = 1 / (np.sqrt(x * x + z * z + 1e-9) * sqrt(1 + taper**2))
    return depth, (x * scale, np.full_like(depth, taper / sqrt(1 + taper**2)), z * scale)


def _cast_torus(solid: Solid, eye: float, u: ndarray, v: ndarray) -> Hit:
    enter, leave = _cross_disc(solid, u, solid.reach)
    low, high = _cross_slab(solid, eye, v)
    depth = np.maximum(enter, low)
    inside = np.nonzero(depth < np.minimum(leave, high))
    depth[:] = MISS
    depth[inside] = _meet_torus(solid, eye, u[0, inside[1]].astype(float), v[inside[0], 0].astype(float))
    x, y, z = u * depth - solid.x, v * depth + (eye - solid.tube), depth - solid.z
    axis = np.sqrt(x * x + z * z + 1e-9)
    scale = (1 - solid.radius / axis) / solid.tube
    return depth, (x * scale, y / solid.tube, z * scale)


def _meet_torus(solid: Solid, eye: float, u: ndarray, v: ndarray) -> ndarray:
    """Where rays [n] first meet a torus: the least root of a quartic, as a product of two quadratics (Descartes, 1637).

    Counted in unit lengths from the ray's point nearest to the centre, the quartic is t^4 + p t^2 + q t + r.
    """
    up, square = eye - solid.tube, u * u + v * v + 1
    middle = (u * solid.x - v * up + solid.z) / square
    x, y, z = u * middle - solid.x, v * middle + up, middle - solid.z
    apart, twice = x * x + y * y + z * z, 4 * solid.radius**2
    k, speed = apart + solid.radius**2 - solid.tube**2, np.sqrt(square)
    p, q = 2 * k - twice * (1 - v * v / square), 2 * twice * y * v / speed
    sum_squared = np.maximum(_largest_root(2 * p, p * p - 4 * (k * k - twice * (apart - y * y)), -q * q), 1e-12)
    total = np.sqrt(sum_squared)
    first, second = -sum_squared - 2 * p + 2 * q / total, -sum_squared - 2 * p - 2 * q / total
    early = np.where(first > 0, -total - np.sqrt(np.maximum(first, 0)), np.inf)
    late = np.where(second > 0, total - np.sqrt(np.maximum(second, 0)), np.inf)
    return np.minimum(middle + np.minimum(early, late) / (2 * speed), MISS)


def _largest_root(a: ndarray, b: ndarray, c: ndarray) -> ndarray:
    """The largest real root of x^3 + a x^2 + b x + c (Cardano; Viete where there are three)."""
    third, half = (b - a * a / 3) / 3, (a * (a * a / 4.5 - b) / 3 + c) / -2
    inside = half * half + third**3
    root = np.sqrt(np.maximum(inside, 0))
    scale = np.sqrt(np.maximum(-third, 1e-12))
    three = 2 * scale * np.cos(np.arccos(np.clip(half / scale**3, -1, 1)) / 3)
    return np.where(inside > 0, np.cbrt(half + root) + np.cbrt(half - root), three) - a / 3


def _gap_sphere(solid: Solid, sun: Vector, x: ndarray, y: ndarray, z: ndarray) -> tuple[ndarray, ndarray]:
    up = solid.radius - y
    along = np.maximum(up * sun[1] - x * sun[0] - z * sun[2], 0)
    apart = x * x + z * z + up * up - along * along
    return np.sqrt(np.maximum(apart, 0)) - solid.radius, along * sun[1]


def _gap_disc(solid: Solid, sun: Vector, x: ndarray, y: ndarray, z: ndarray) -> tuple[ndarray, ndarray]:
    """Cylinder and cone: the height above the point at which the ray to the sun is deepest inside the section there."""
    sx, sz = sun[0] / sun[1], sun[2] / sun[1]
    slope, taper = hypot(sx, sz), solid.radius / solid.height if solid.shape == "cone" else 0.0
    along, across = (x * sx + z * sz) / slope, np.abs(x * sz - z * sx) / slope
    lean = taper / sqrt(max(slope**2 - taper**2, 1e-6))
    rise = np.clip((across * -lean - along) / slope, 0, np.maximum(solid.height - y, 0))
    ahead = along + slope * rise
    return np.sqrt(ahead * ahead + across * across) - solid.radius + taper * (y + rise), rise


def _gap_cube(solid: Solid, sun: Vector, x: ndarray, y: ndarray, z: ndarray) -> tuple[ndarray, ndarray]:
    """The shadow at a height is the hull of two squares: as far outside as outside the furthest of its three strips."""
    c, s = cos(solid.yaw), sin(solid.yaw)
    sx, sz = (sun[0] * c + sun[2] * s) / sun[1], (sun[2] * c - sun[0] * s) / sun[1]
    x, z = x * c + z * s, z * c - x * s
    slope, half = hypot(sx, sz), np.maximum(solid.height - y, 0) / 2
    sides = np.maximum(np.abs(x + half * sx) - half * abs(sx), np.abs(z + half * sz) - half * abs(sz)) - solid.radius
    across = np.abs(x * sz - z * sx) / slope - solid.radius * (abs(sx) + abs(sz)) / slope
    return np.maximum(sides, across), np.clip((x * sx + z * sz) / -(slope**2), 0, 2 * half)


def _gap_torus(solid: Solid, sun: Vector, x: ndarray, y: ndarray, z: ndarray) -> tuple[ndarray, ndarray]:
    """Along the sun a level circle keeps its shape, and its tube widens where it lies across the light.

    Exact below the middle of the tube but for the circle's bend; above, where little can be in shadow, an estimate.
    """
    sx, sz = sun[0] / sun[1], sun[2] / sun[1]
    rise, above = np.maximum(solid.tube - y, 0), np.clip(y / solid.tube - 1, 0, 1)
    x, z = x + sx * rise, z + sz * rise
    axis = np.sqrt(x * x + z * z + 1e-9)
    stretch = (x * sx + z * sz) / axis
    return np.abs(axis - solid.radius) - solid.tube * np.sqrt((1 + stretch * stretch) * (1 - above * above)), rise


_CASTS: dict[str, Callable[..., Hit]] = {
    "sphere": _cast_sphere,
    "cube": _cast_cube,
    "cylinder": _cast_cylinder,
    "cone": _cast_cone,
    "torus": _cast_torus,
}
_GAPS: dict[str, Callable[..., tuple[ndarray, ndarray]]] = {
    "sphere": _gap_sphere,
    "cube": _gap_cube,
    "cylinder": _gap_disc,
    "cone": _gap_disc,
    "torus": _gap_torus,
}
