import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from openjepa.data.decoding.read import read_header
from openjepa.data.decoding.read import read_pixels as decode
from openjepa.errors import BadImage
from openjepa.safety.limits import MAX_PIXELS

RAMP = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)

# How an upright array is stored under each EXIF orientation: from the standard's table of row 0 and column 0.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def encoded(image, format="PNG", **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, format, **options)
    return stream.getvalue()


def decoded(data):
    image = decode(io.BytesIO(data))
    assert image.mode == "RGB"
    return np.asarray(image)


def reason(data):
    with pytest.raises(BadImage) as caught:
        decode(io.BytesIO(data))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def grey(values):
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=2)


def png_header(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_undone_once(orientation, format):
    upright = np.kron(RAMP // 2 + 64, np.ones((16, 16, 1), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {})
    data = encoded(np.ascontiguousarray(STORED[orientation](upright)), format, exif=exif, **options)
    np.testing.assert_allclose(decoded(data).astype(int), upright, atol=8 if format == "JPEG" else 0)
    assert read_header(io.BytesIO(data))[:2] == ((160, 96), "RGB")
    assert decode(io.BytesIO(data)).getexif().get(0x0112) is None


def test_damaged_exif_does_not_lose_the_image():
    data = encoded(RAMP, "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    np.testing.assert_array_equal(decoded(data), RAMP)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format):
    values = np.array([[0, 128, 129, 257, 4095, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(decoded(encoded(values, format)), grey(np.rint(values / 257.0)))
    big_endian = Image.frombytes("I;16B", (9, 1), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(decoded(encoded(big_endian, "TIFF")), grey(np.rint(values / 257.0)))


def test_32_bit_grey_by_its_range():
    np.testing.assert_array_equal(decoded(encoded(np.float32([[0, 0.2, 0.5, 1]]), "TIFF")), grey([[0, 51, 128, 255]]))
    np.testing.assert_array_equal(decoded(encoded(np.float32([[0, 2.4, 254.6]]), "TIFF")), grey([[0, 2, 255]]))
    np.testing.assert_array_equal(decoded(encoded(np.int32([[0, 7, 255]]), "TIFF")), grey([[0, 7, 255]]))
    np.testing.assert_array_equal(decoded(encoded(np.int32([[0, 1]]), "TIFF")), grey([[0, 255]]))
    for values in (np.float32([[0, 300]]), np.float32([[-1, 1]]), np.float32([[0, np.nan]]), np.int32([[0, 70000]])):
        assert "0..1 and 0..255" in reason(encoded(values, "TIFF"))


def test_transparency_is_laid_on_white():
    alpha = np.linspace(0, 255, 60).round().astype(np.uint8).reshape(6, 10)
    share = alpha[..., None] / 255
    rgba = np.dstack([RAMP, alpha])
    expected = RAMP * share + 255 * (1 - share)
    for format, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        np.testing.assert_allclose(decoded(encoded(rgba, format, **options)), expected, atol=1)
    lightness = np.ascontiguousarray(np.dstack([RAMP[..., 0], alpha]))
    expected = grey(RAMP[..., 0]) * share + 255 * (1 - share)
    np.testing.assert_allclose(decoded(encoded(Image.fromarray(lightness))), expected, atol=1)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 128])])
def test_palette_with_transparency(transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 200])
    image.putdata([0, 1, 2])
    last = [0, 0, 200] if transparency == 1 else [127, 127, 227]
    expected = [[[255, 0, 0], [255, 255, 255], last]]
    np.testing.assert_allclose(decoded(encoded(image, transparency=transparency)), expected, atol=1)
    np.testing.assert_array_equal(decoded(encoded(image))[0, 1], [0, 255, 0])


def test_transparent_colour_of_a_true_colour_png():
    red = np.full((1, 2, 3), (255, 0, 0), dtype=np.uint8)
    red[0, 1] = (10, 20, 30)
    expected = [[[255, 255, 255], [10, 20, 30]]]
    np.testing.assert_array_equal(decoded(encoded(red, transparency=(255, 0, 0))), expected)


def test_other_modes_become_rgb():
    smooth = Image.fromarray(np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8))
    for mode, format in (("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("LAB", "TIFF")):
        data = encoded(smooth.convert(mode), format)
        assert read_header(io.BytesIO(data)).mode == mode
        np.testing.assert_allclose(decoded(data), np.asarray(smooth), atol=6)
    bits = Image.fromarray(RAMP[..., 0] > 127)
    np.testing.assert_array_equal(decoded(encoded(bits)), grey((RAMP[..., 0] > 127) * 255))
    np.testing.assert_array_equal(decoded(encoded(RAMP[..., 0], "BMP")), grey(RAMP[..., 0]))
    np.testing.assert_array_equal(decoded(encoded(RAMP, "BMP")), RAMP)


@pytest.mark.parametrize("format", ["TIFF", "WEBP"])
def test_first_frame_counts(format):
    pages = [Image.fromarray(RAMP), Image.new("RGB", (10, 6), "red")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(pages[0], format, save_all=True, append_images=pages[1:], **options)
    np.testing.assert_array_equal(decoded(data), RAMP)


def test_unusable_files_give_short_reasons():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert reason(b"") == "empty file"
    for data in (b"<html>no</html>", b"\x00" * 5000, encoded(RAMP, "GIF"), b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        assert reason(data).startswith("not an image (")
    for format in ("JPEG", "PNG", "BMP"):
        data = encoded(noise, format)
        assert reason(data[: len(data) // 2]) == "truncated"
    for format in ("TIFF", "WEBP"):
        data = encoded(noise, format)
        assert len(reason(data[: len(data) // 2])) < 80


@pytest.mark.parametrize("size", [(10_000, 9_000), (30_000, 30_000)])
def test_too_many_pixels_are_refused_from_the_header(size):
    for read in (decode, read_header):
        with pytest.raises(BadImage, match=f"larger than {MAX_PIXELS.default:,} pixels"):
            read(io.BytesIO(png_header(*size)))


def test_damage_anywhere_is_a_bad_image_or_an_image_and_never_a_warning(capfd):
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [encoded(RAMP, format, exif=exif) for format in ("JPEG", "PNG", "TIFF", "WEBP")]
    files += [encoded(RAMP, "BMP"), encoded(RAMP, "TIFF", compression="tiff_lzw"), png_header(10_000, 9_000)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for data in files * 100:
            broken = bytearray(data)
            for place in rng.integers(0, len(data), rng.integers(1, 6)):
                broken[place] = rng.integers(0, 256)
            try:
                assert decode(io.BytesIO(broken)).mode == "RGB"
            except BadImage as error:
                assert str(error)
    assert caught == []
    printed, complaints = capfd.readouterr()
    # libtiff's own lines, written in C, are beyond reach.
    assert printed == "" and "PIL" not in complaints and "Warning" not in complaints


def test_threads_do_not_disturb_the_filters_of_the_process():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reasons = []

        def work():
            for _ in range(50):
                reasons.append(reason(png_header(10_000, 9_000)))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reasons) == 200
        assert set(reasons) == {f"larger than {MAX_PIXELS.default:,} pixels (10000x9000)"}
        with pytest.raises(UserWarning):
            warnings.warn("others are still heard", stacklevel=1)
