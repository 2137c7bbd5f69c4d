"""Stacks of images in TIFF: found and read in time that grows with their number, whatever their directories say."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from openjepa.data.dataset import ImageFiles
from openjepa.data.decoding.pixel_format import RGB, PixelFormat
from openjepa.data.decoding.read import read_header, read_pixels
from openjepa.data.decoding.tiff_directories import directories
from openjepa.data.open import open_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.encoder.content_hashes import content_hash
from openjepa.errors import BadImage

tifffile = pytest.importorskip("tifffile")
RNG = np.random.default_rng(0)


def stack(pages: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, **options) as writer:
        for page in pages:
            writer.write(page, contiguous=False, photometric="minisblack")
    return stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"bigtiff": True, "byteorder": ">"}])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_every_page_is_read_from_its_own_directory(tmp_path, options, dtype):
    pages = RNG.integers(0, 200, (5, 9, 11)).astype(dtype)
    (tmp_path / "a.tif").write_bytes(stack(pages, **options))
    dataset, _ = inspect_dataset(open_dataset(tmp_path), pages="images", pixel_format=PixelFormat(1, "raw", "images"))
    assert list(dataset.paths) == [f"a.tif#{page}" for page in range(5)]
    for page in (4, 0, 2, 1, 3):
        np.testing.assert_array_equal(dataset.load(page)[..., 0], pages[page].astype("f4"))
        np.testing.assert_array_equal(dataset.subset([page]).load(0)[..., 0], pages[page].astype("f4"))
    read = read_pixels(io.BytesIO((tmp_path / "a.tif").read_bytes()), PixelFormat(1, "raw", "images"), 3)
    np.testing.assert_array_equal(read[..., 0], pages[3].astype("f4"))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_pages_that_pillow_reads_are_the_same_as_by_its_own_way(tmp_path, compression):
    pages = [Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(4)]
    pages[0].save(tmp_path / "a.tif", compression=compression, save_all=True, append_images=pages[1:])
    dataset, _ = inspect_dataset(open_dataset(tmp_path), pages="images")
    with Image.open(tmp_path / "a.tif") as image:
        for page in range(4):
            image.seek(page)
            np.testing.assert_array_equal(np.asarray(dataset.load(page)), np.asarray(image.convert("RGB")))


def test_pages_are_equal_where_the_same_page_of_equal_files_is_and_files_are_read_once(tmp_path, monkeypatch):
    pages = RNG.integers(0, 200, (40, 8, 8), dtype=np.uint8)
    for name, content in (("a.tif", pages), ("b.tif", pages), ("c.tif", pages[::-1])):
        (tmp_path / name).write_bytes(stack(content))
    reads, read = [], ImageFiles.read
    monkeypatch.setattr(ImageFiles, "read", lambda self, index: reads.append(index) or read(self, index))
    dataset, summary = inspect_dataset(open_dataset(tmp_path), pages="images")
    assert summary.duplicates == [[f"a.tif#{page}", f"b.tif#{page}"] for page in range(40)]
    assert len(reads) == 3 and summary.looked_at == len(dataset) == 120
    reads.clear()
    assert content_hash(dataset) != content_hash(dataset.subset([*range(119), 0]))
    assert len(reads) == 7  # of the second, the first file once more at its end


def chain(count: int, last: int = 0) -> bytes:
    """A TIFF of so many empty directories."""
    entries = b"".join(struct.pack("<HI", 0, 8 + 6 * (number + 1)) for number in range(count - 1))
    return b"II*\0" + struct.pack("<I", 8) + entries + struct.pack("<HI", 0, last)


def test_hundreds_of_pages_and_many_directories_take_little_time(tmp_path):
    pages = RNG.integers(0, 200, (400, 8, 8), dtype=np.uint8)
    (tmp_path / "a.tif").write_bytes(stack(pages))
    begun = time.process_time()
    dataset, _ = inspect_dataset(open_dataset(tmp_path), pages="images")
    for page in range(0, 400, 4):
        assert np.array_equal(np.asarray(dataset.load(page)), pages[page])
    assert time.process_time() - begun < 2
    begun = time.process_time()
    assert len(directories(io.BytesIO(chain(100_000)))) == 100_000
    with pytest.raises(BadImage):
        read_pixels(io.BytesIO(chain(100_000)), RGB)
    assert time.process_time() - begun < 3


def test_directories_without_an_end_are_refused(monkeypatch):
    with pytest.raises(BadImage, match="circle"):
        directories(io.BytesIO(chain(10, last=8)))
    monkeypatch.setenv("OPENJEPA_MAX_PAGES", "9")
    with pytest.raises(BadImage, match="OPENJEPA_MAX_PAGES raises it"):
        directories(io.BytesIO(chain(10)))
    assert len(directories(io.BytesIO(chain(9, last=2**31)))) == 9


def test_more_channels_than_are_read_are_a_reason_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "good.tif").write_bytes(stack(RNG.integers(0, 255, (1, 8, 8), dtype=np.uint8)))
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((1, 1, 60_000), np.uint8), photometric="minisblack", planarconfig="contig")
    (tmp_path / "bands.tif").write_bytes(stream.getvalue())
    _, summary = inspect_dataset(open_dataset(tmp_path))
    assert summary.skipped == [
        (
            "bands.tif",
            "60,000 channels, more than are read (the limit is 4,096 channels; OPENJEPA_MAX_CHANNELS raises it)",
        )
    ]
    monkeypatch.setenv("OPENJEPA_MAX_CHANNELS", "2")
    (tmp_path / "bands.tif").write_bytes(stack(RNG.integers(0, 255, (3, 8, 8), dtype=np.uint8)))
    _, summary = inspect_dataset(open_dataset(tmp_path), pages="channels")
    assert summary.skipped[0][1].startswith("3 channels, more than are read")


def test_white_is_zero_is_inverted_at_every_depth():
    for dtype, full in (("u1", 255), ("u2", 65535)):
        values = RNG.integers(0, full, (9, 11)).astype(dtype)
        stream = io.BytesIO()
        tifffile.imwrite(stream, values, photometric="miniswhite")
        raw = read_pixels(io.BytesIO(stream.getvalue()), PixelFormat(1, "raw"))
        np.testing.assert_array_equal(raw[..., 0], full - values.astype("f4"))
        grey = np.asarray(read_pixels(io.BytesIO(stream.getvalue()), PixelFormat(1)))
        np.testing.assert_allclose(grey, (full - values.astype(int)) / full * 255, atol=0.51)
    values = RNG.integers(0, 2**32, (9, 11)).astype("u4")
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="miniswhite")
    raw = read_pixels(io.BytesIO(stream.getvalue()), PixelFormat(1, "raw"))
    np.testing.assert_array_equal(raw[..., 0], (2**32 - 1 - values.astype("i8")).astype("f4"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_colour_png_is_upright(orientation):
    imagecodecs = pytest.importorskip("imagecodecs")
    values = RNG.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    data = imagecodecs.png_encode(values)
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    body = b"eXIf" + block
    chunk = struct.pack(">I", len(block)) + body + struct.pack(">I", zlib.crc32(body))
    data = data[:33] + chunk + data[33:]
    deep = read_pixels(io.BytesIO(data), PixelFormat(3, "unit"))
    small = np.asarray(read_pixels(io.BytesIO(data), RGB))
    assert deep.shape == small.shape and read_header(io.BytesIO(data)).size == small.shape[1::-1]
    np.testing.assert_allclose(deep * 255, small, atol=1)


def test_values_too_large_for_32_bits_and_sides_of_no_pixels():
    values = np.full((9, 11), 1e300)
    values[:, :5] = 1.0
    stream = io.BytesIO()
    tifffile.imwrite(stream, values)
    raw = read_pixels(io.BytesIO(stream.getvalue()), PixelFormat(1, "raw"))
    assert raw.max() == 1.0
    data = stream.getvalue()
    place = data.index(struct.pack("<HHI", 256, 4, 1)) if struct.pack("<HHI", 256, 4, 1) in data else None
    place = place or data.index(struct.pack("<HHI", 256, 3, 1))
    with pytest.raises(BadImage, match=r"no pixels|damaged|not an image"):
        read_header(io.BytesIO(data[: place + 8] + bytes(4) + data[place + 12 :]))
