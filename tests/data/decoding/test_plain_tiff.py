"""Pages that are read by their directory alone are what Pillow makes of them, and files stay open between pages."""

import io
import pickle
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from openjepa.data.dataset import ImageFiles
from openjepa.data.decoding import read
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.decoding.tiff_directories import directories
from openjepa.data.open import open_dataset
from openjepa.data.storage.zip_members import Zip
from openjepa.data.summary import inspect_dataset
from openjepa.errors import BadImage

tifffile = pytest.importorskip("tifffile")
RNG = np.random.default_rng(0)
PLAIN = read.plain_image
GREY = PixelFormat(1, "uint8", "images")


def stack(pages: np.ndarray, options: dict | None = None, **settings) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, **options or {}) as writer:
        for page in pages:
            colour = "rgb" if pages.ndim == 4 else "minisblack"
            writer.write(page, contiguous=False, photometric=colour, **settings)
    return stream.getvalue()


def arrays() -> dict[str, bytes]:
    found = {}
    for dtype in ("u1", "u2", "f4", "i2", "u4", "3u1", "4u1", "3u2"):
        shape, form = ((2, 7, 9, int(dtype[0])), dtype[1:]) if dtype[0].isdigit() else ((2, 7, 9), dtype)
        pages = (RNG.random(shape) * 200).astype(form)
        for options in ({}, {"bigtiff": True}, {"byteorder": ">"}, {"bigtiff": True, "byteorder": ">"}):
            for settings in ({"rowsperstrip": 2, "software": "x" * 30}, {"compression": "zlib"}):
                found[f"{dtype} {options} {settings}"] = stack(pages, options, **settings)
    return found


def pictures() -> dict[str, bytes]:
    """The second page has an orientation of its own."""
    found = {}
    for mode in ("1", "L", "P", "LA", "CMYK", "YCbCr", "RGB"):
        pages = [Image.fromarray(RNG.integers(0, 256, (20, 17, 3), dtype=np.uint8)).convert(mode) for _ in range(2)]
        for orientation in (1, 3, 6):
            for compression in ("raw", "tiff_lzw"):
                pages[1].encoderinfo = {"tiffinfo": {274: orientation}}
                stream = io.BytesIO()
                pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:2], compression=compression)
                found[f"{mode} {orientation} {compression}"] = stream.getvalue()
    return found


def outcome(data: bytes, pixel_format: PixelFormat, start: int) -> object:
    """All that an image is, or the reason why there is none."""
    try:
        pixels = read.read_tiff_page(io.BytesIO(data), pixel_format, start)
    except BadImage as error:
        return str(error)
    array = np.asarray(pixels)
    return type(pixels), array.dtype, array.shape, array.tobytes(), getattr(pixels, "info", {})


def assert_as_pillow(monkeypatch, data: bytes, pixel_format: PixelFormat, start: int) -> None:
    mine = outcome(data, pixel_format, start)
    monkeypatch.setattr(read, "plain_image", lambda stream, start: None)
    assert mine == outcome(data, pixel_format, start), pixel_format
    monkeypatch.setattr(read, "plain_image", PLAIN)


def test_every_page_is_what_pillow_makes_of_it(monkeypatch):
    formats = [
        GREY,
        PixelFormat(3, "uint8", "images"),
        PixelFormat(1, "raw", "images"),
        PixelFormat(3, "unit", "images"),
    ]
    taken = 0
    for data in (arrays() | pictures()).values():
        for start in directories(io.BytesIO(data)):
            taken += PLAIN(io.BytesIO(data), start) is not None
            for pixel_format in formats:
                assert_as_pillow(monkeypatch, data, pixel_format, start)
    assert taken >= 2 * 4 * 3  # of pages of four kinds of arrays in three kinds of files


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}])
def test_a_damaged_directory_is_what_pillow_makes_of_it(monkeypatch, options):
    data = stack(RNG.integers(0, 200, (2, 9, 11, 3), dtype=np.uint8), options)
    start = directories(io.BytesIO(data))[1]
    assert PLAIN(io.BytesIO(data), start)
    for place in range(start, min(len(data), start + 320)):
        for value in (3, 255):
            damaged = data[:place] + bytes([value]) + data[place + 1 :]
            assert_as_pillow(monkeypatch, damaged, GREY, start)
    assert_as_pillow(monkeypatch, data[:-20], GREY, start)


def test_pillow_is_not_asked_for_plain_pages(tmp_path, monkeypatch):
    pages = RNG.integers(0, 200, (3, 9, 11), dtype=np.uint8)
    (tmp_path / "a.tif").write_bytes(stack(pages))
    dataset, _ = inspect_dataset(open_dataset(tmp_path), pages="images")
    monkeypatch.setattr(Image, "open", None)
    for number, page in enumerate(pages):
        assert np.array_equal(np.asarray(dataset.load(number)), page)


def test_a_file_of_many_pages_is_opened_once_for_each_user(tmp_path, monkeypatch):
    pages = RNG.integers(0, 200, (20, 8, 8), dtype=np.uint8)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.tif", "b.tif"):
            archive.writestr(name, stack(pages))
    dataset, _ = inspect_dataset(open_dataset(tmp_path / "set.zip"), pages="images")
    assert isinstance(dataset, ImageFiles)
    opened, open_member = [], Zip.open
    monkeypatch.setattr(Zip, "open", lambda self, row: opened.append(row) or open_member(self, row))

    def load_all(images: ImageFiles) -> None:
        for index in range(len(images)):
            assert np.array_equal(np.asarray(images.load(index)), pages[index % 20])

    load_all(dataset)
    load_all(dataset.subset(range(20, 40)))
    assert len(opened) == 2
    load_all(pickle.loads(pickle.dumps(dataset)))
    thread = threading.Thread(target=load_all, args=(dataset.subset(range(20, 40)),))
    thread.start()
    thread.join()
    assert len(opened) == 5
