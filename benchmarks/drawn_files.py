"""Image files of several formats, sizes and orientations, which the benchmarks of exports read in two ways."""

import io

import numpy as np
from PIL import Image


def scene(seed: int, width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Soft colours, sharp discs and noise."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (4, 5, 4), dtype=np.uint8)).resize((width, height), 3)
    array = np.asarray(soft).astype(float)
    rows, columns = np.mgrid[:height, :width]
    for _ in range(6):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.05, 0.25) * min(width, height)
        array[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = rng.integers(0, 256, 4)
    array += rng.normal(0, 8, array.shape)
    return Image.fromarray(array.clip(0, 255).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, turned: int = 0, **options) -> bytes:
    """The bytes of a file; `turned` is an EXIF orientation."""
    exif = Image.Exif()
    if turned:
        exif[0x0112] = turned
    stream = io.BytesIO()
    image.save(stream, kind, exif=exif, **options)
    return stream.getvalue()


def files() -> dict[str, bytes]:
    palette = scene(8, 300, 200).quantize(32)
    return {
        "JPEG 640x480": saved(scene(0, 640, 480), "JPEG", quality=90),
        "JPEG 3000x2000, 4:4:4": saved(scene(1, 3000, 2000), "JPEG", quality=95, subsampling=0),
        "JPEG 800x500, orientation 6": saved(scene(2, 800, 500), "JPEG", 6),
        "JPEG 500x375, progressive, orientation 2": saved(scene(3, 500, 375), "JPEG", 2, progressive=True),
        "JPEG 427x640, grey": saved(scene(4, 427, 640, "L"), "JPEG"),
        "PNG 300x900": saved(scene(5, 300, 900), "PNG"),
        "PNG 500x333, transparent": saved(scene(6, 500, 333, "RGBA"), "PNG"),
        "PNG 24x31": saved(scene(7, 24, 31), "PNG"),
        "PNG 300x200, palette with transparency": saved(palette, "PNG", transparency=3),
        "WebP 720x720": saved(scene(9, 720, 720), "WEBP", quality=85),
    }
