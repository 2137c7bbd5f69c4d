"""Images of any channels and depth: what is read is what was stored, and what cannot be is refused in a line."""

import dataclasses
import io
import struct
import sys
import warnings

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from support.packing import as_dicom as dicom

from openjepa.data.batches import Batches, load_batches
from openjepa.data.crops import oriented_crop, resize_centre_crop, resized
from openjepa.data.dataset import read_as
from openjepa.data.decoding.pixel_format import RGB, PixelFormat
from openjepa.data.decoding.read import read_header, read_pixels
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.data.statistics import channel_statistics
from openjepa.data.summary import inspect_dataset
from openjepa.errors import BadImage, UsageError
from openjepa.masking.settings import MaskSettings

RNG = np.random.default_rng(0)
BANDS = RNG.normal(300, 50, (14, 17, 12)).astype(np.float32)
DEEP = RNG.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
BYTES = RNG.integers(0, 256, (9, 11, 5), dtype=np.uint8)
RAW12, GREY16 = PixelFormat(12, "raw"), PixelFormat(1, "unit")


def tiff(array, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **{"photometric": "minisblack", **options})
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def read(data, pixel_format, page=0):
    return np.asarray(read_pixels(io.BytesIO(data), pixel_format, page))


def head(data):
    return read_header(io.BytesIO(data))


TWELVE = {
    "contiguous": tiff(BANDS, planarconfig="contig"),
    "planes": tiff(np.moveaxis(BANDS, 2, 0), planarconfig="separate"),
    "deflated tiles": tiff(BANDS, planarconfig="contig", compression="zlib", predictor=True, tile=(16, 16)),
    "LZW": tiff(BANDS, planarconfig="contig", compression="lzw"),
    "big": tiff(BANDS, planarconfig="contig", bigtiff=True),
    "big-endian": tiff(BANDS, planarconfig="contig", byteorder=">"),
    "npy": npy(BANDS),
    "npy, channels first": npy(np.moveaxis(BANDS, 2, 0)),
    "npy, columns first": npy(np.asfortranarray(BANDS)),
}


@pytest.mark.parametrize("layout", TWELVE)
def test_twelve_bands_are_read_as_stored(layout):
    header = head(TWELVE[layout])
    assert (header.size, header.mode, header.bands, header.depth) == ((17, 14), "12xfloat32", 12, "other")
    np.testing.assert_array_equal(read(TWELVE[layout], RAW12), BANDS)


@pytest.mark.parametrize("data", [png(DEEP[..., 0]), tiff(DEEP[..., 0]), npy(DEEP[..., 0])], ids=["png", "tiff", "npy"])
def test_16_bit_grey_keeps_its_16_bits(data):
    assert head(data)[:1] + head(data)[2:4] == ((11, 9), 1, "uint16")
    np.testing.assert_allclose(read(data, GREY16), DEEP[..., :1] / 65535, rtol=1e-6)
    np.testing.assert_array_equal(read(data, RGB), np.rint(DEEP[..., :1] / 257).repeat(3, axis=2))
    np.testing.assert_array_equal(read(data, PixelFormat(1)).reshape(9, 11), np.rint(DEEP[..., 0] / 257))


def test_16_bit_colour_keeps_its_16_bits():
    import imagecodecs

    for data in (imagecodecs.png_encode(DEEP), tiff(DEEP, photometric="rgb")):
        assert head(data)[1:4] == ("RGB;16", 3, "uint16")
        np.testing.assert_allclose(read(data, PixelFormat(3, "unit")), DEEP / 65535, rtol=1e-6)
        np.testing.assert_allclose(read(data, RGB), DEEP / 257, atol=1)


def test_bytes_of_any_number_of_channels():
    for data in (tiff(BYTES, planarconfig="contig"), npy(BYTES)):
        assert head(data)[2:4] == (5, "uint8")
        np.testing.assert_array_equal(read(data, PixelFormat(5)), BYTES)
    rgba = png(BYTES[..., :4])
    np.testing.assert_array_equal(read(rgba, PixelFormat(4)), BYTES[..., :4])
    assert head(rgba).bands == 3 and read(rgba, RGB).shape == (9, 11, 3)
    nir = tiff(BYTES[..., :4], photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(read(nir, PixelFormat(4)), BYTES[..., :4])
    np.testing.assert_array_equal(read(nir, RGB), BYTES[..., :3])


def test_grey_and_colour_become_each_other_and_others_do_not():
    colour = npy(BYTES[..., :3])
    luma = np.rint(BYTES[..., :3] @ [0.299, 0.587, 0.114])
    np.testing.assert_allclose(read(colour, PixelFormat(1)).reshape(9, 11), luma, atol=1)
    np.testing.assert_array_equal(read(npy(BYTES[..., 0]), RGB), BYTES[..., :1].repeat(3, axis=2))
    for channels in (2, 4, 12):
        with pytest.raises(BadImage, match=f"3 channels, not {channels}"):
            read(colour, PixelFormat(channels))


def test_pages_are_the_first_or_channels_or_images():
    pages = RNG.integers(0, 65536, (4, 9, 11), dtype=np.uint16)
    data = tiff(pages)
    assert head(data).pages == 4
    np.testing.assert_allclose(read(data, GREY16)[..., 0], pages[0] / 65535, rtol=1e-6)
    np.testing.assert_allclose(
        read(data, PixelFormat(4, "unit", "channels")), pages.transpose(1, 2, 0) / 65535, rtol=1e-6
    )
    for page in range(4):
        np.testing.assert_allclose(
            read(data, PixelFormat(1, "unit", "images"), page)[..., 0], pages[page] / 65535, rtol=1e-6
        )


def test_a_folder_of_stacks_as_images(tmp_path):
    stacks = RNG.integers(0, 256, (2, 3, 9, 11), dtype=np.uint8)
    for number, stack in enumerate(stacks):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/s.tif").write_bytes(tiff(stack))
    (tmp_path / "1/single.tif").write_bytes(tiff(stacks[0, 0]))
    dataset, summary = inspect_dataset(open_dataset(tmp_path), pages="images")
    assert dataset.paths == [f"{n}/s.tif#{page}" for n in (0, 1) for page in (0, 1, 2)] + ["1/single.tif"]
    assert dataset.labels["class"].tolist() == [0, 0, 0, 1, 1, 1, 1] and summary.images == 7
    np.testing.assert_array_equal(dataset.load(4), stacks[1, 1])
    np.testing.assert_array_equal(dataset.subset([6, 2]).load(1), stacks[0, 2])
    _, first = inspect_dataset(open_dataset(tmp_path))
    assert (
        first.images == 3 and "pages: 2 files with more than one, of which the first is read (--pages)" in first.lines()
    )


def test_float_values_stay_and_gaps_take_the_mean():
    values = BANDS[..., :2].copy()
    values[2:4, 3] = np.nan, np.inf
    expected = values.copy()
    good = np.isfinite(values)
    for band in range(2):
        expected[..., band][~good[..., band]] = values[..., band][good[..., band]].mean(dtype=np.float64)
    np.testing.assert_allclose(read(npy(values), PixelFormat(2, "raw")), expected, rtol=1e-6)
    with pytest.raises(BadImage, match="without any finite value"):
        read(npy(np.full((4, 4), np.nan, np.float32)), PixelFormat(1, "raw"))
    np.testing.assert_array_equal(
        read(npy(np.array([[-1000, 3000]], np.int16)), PixelFormat(1, "raw"))[..., 0], [[-1000, 3000]]
    )
    with pytest.raises(BadImage, match="unknown value range"):
        read(npy(np.array([[-1000, 3000]], np.int16)), RGB)


def test_dicom_in_its_own_units():
    values = RNG.integers(0, 4096, (9, 11), dtype=np.uint16)
    plain = dicom(values, BitsStored=12, HighBit=11)
    assert head(plain)[:5] == ((11, 9), "DICOM 16-bit", 1, "other", 1)
    np.testing.assert_allclose(read(plain, PixelFormat(1, "raw"))[..., 0], values / 4095, rtol=1e-6)
    ct = dicom(values, RescaleSlope=2, RescaleIntercept=-1024)
    np.testing.assert_allclose(read(ct, PixelFormat(1, "raw"))[..., 0], values * 2.0 - 1024)
    inverted = dicom(values, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(read(inverted, PixelFormat(1, "raw"))[..., 0], 1 - values / 4095, atol=1e-6)
    eight = dicom(values.astype(np.uint8))
    assert head(eight).depth == "uint8"
    np.testing.assert_array_equal(read(eight, PixelFormat(1)), values.astype(np.uint8))


def test_orientation_of_what_pillow_cannot_read():
    data = tiff(np.rot90(BANDS), planarconfig="contig", extratags=[(274, "H", 1, 6, True)])
    assert head(data).size == (17, 14)
    np.testing.assert_array_equal(read(data, RAW12), BANDS)


def headed(shape, descr="<f4"):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (headed((9, 11)), "truncated"),
        (headed((10**6, 10**6)), "larger than"),
        (headed((9000, 9000, 12)), "bytes of pixels"),
        (headed((0, 4)), "no pixels"),
        (headed((4, 16, 0)), "no pixels"),
        (headed((4, 4), "|O"), "of object"),
        (headed((4,)), r"\[4\] of float32"),
        (b"\x93NUMPY\x09\x00", "version"),
        (TWELVE["contiguous"][:600], "damaged|truncated"),
        (bytes(128) + b"DICM" + bytes(40), "damaged"),
    ],
)
def test_lies_and_damage_are_bad_images(data, said):
    with pytest.raises(BadImage, match=said) as caught:
        read(data, RAW12)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(BadImage, match=r"needs tifffile: pip install 'openjepa\[tiff\]'"):
        head(TWELVE["contiguous"])


def folder_of(tmp_path, **files):
    for name, data in files.items():
        name = name.replace("__", ".")
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_the_images_decide_how_they_are_read(tmp_path):
    def pixel_format(**files):
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        place.mkdir()
        return inspect_dataset(open_dataset(folder_of(place, **files)))[1].pixel_format

    grey, colour, deep = png(BYTES[..., 0]), png(BYTES[..., :3]), png(DEEP[..., 0])
    assert (
        pixel_format(a__png=colour)
        == pixel_format(a__png=colour, b__png=grey)
        == pixel_format(a__png=colour, b__png=deep)
        == RGB
    )
    assert pixel_format(a__png=grey) == pixel_format(a__png=grey, b__png=deep) == PixelFormat(1)
    assert pixel_format(a__png=deep) == GREY16
    assert pixel_format(a__tif=TWELVE["planes"]) == pixel_format(a__npy=npy(BANDS)) == RAW12
    assert pixel_format(a__tif=tiff(BANDS[..., 0]), b__png=deep) == PixelFormat(1, "raw")
    with pytest.raises(UsageError, match=r"images: 1 of 3, 1 of 12\): give --channels"):
        pixel_format(a__png=colour, b__tif=TWELVE["planes"])


def test_a_number_of_channels_that_was_asked_for(tmp_path):
    folder_of(tmp_path, a__png=png(BYTES[..., :3]), b__tif=TWELVE["planes"], c__png=png(BYTES[..., 0]))
    dataset, summary = inspect_dataset(open_dataset(tmp_path), channels=3)
    assert dataset.paths == ["a.png", "c.png"] and summary.skipped == [("b.tif", "not asked for (12 channels)")]
    dataset, summary = inspect_dataset(open_dataset(tmp_path), pixel_format=RAW12)
    assert dataset.paths == ["b.tif"] and len(summary.skipped) == 2
    with pytest.raises(UsageError, match="holds images of 1, 3, 12 channels, where 7 are to be read"):
        inspect_dataset(open_dataset(tmp_path), channels=7)


def test_arrays_beside_pictures_are_no_images(tmp_path):
    folder_of(tmp_path, a__png=png(BYTES[..., :3]), b__npy=npy(BANDS))
    assert open_dataset(tmp_path).paths == ["a.png"]
    (tmp_path / "a.png").unlink()
    assert open_dataset(tmp_path).paths == ["b.npy"]


@pytest.mark.parametrize("kernel", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR])
@pytest.mark.parametrize("size", [(40, 40), (200, 90), (17, 23)])
def test_crops_of_numbers_are_antialiased_as_pillow_does(size, kernel):
    image = Image.fromarray(RNG.integers(80, 176, (120, 150, 3), dtype=np.uint8))
    box = (10.3, 4.7, 140.2, 110.9)
    expected = np.asarray(image.resize(size[::-1], kernel, box=box))
    np.testing.assert_array_equal(resized(np.asarray(image), size, box, kernel), expected)
    of_floats = resized(np.asarray(image, np.float32) / 255, size, box, kernel) * 255
    assert np.abs(of_floats - expected).max() <= 1.2  # Pillow rounds after each of two passes
    assert np.abs(of_floats - expected).mean() < 0.36


def test_held_in_memory_and_converted_as_read(tmp_path):
    folder_of(tmp_path, **{f"{i}__png": png(DEEP[i:, i:, 0]) for i in range(3)})
    files, _ = inspect_dataset(open_dataset(tmp_path))
    held, bad = hold_in_memory(files, 0)
    assert not bad and held.pixel_format == GREY16
    for index in range(3):
        np.testing.assert_array_equal(held.load(index), files.load(index))
        for pixel_format in (RGB, PixelFormat(1), PixelFormat(3, "unit")):
            same = [np.asarray(read_as(dataset, pixel_format).load(index)) for dataset in (held, files)]
            np.testing.assert_array_equal(same[0].reshape(same[1].shape), same[1])
    with pytest.raises(UsageError, match="images of 1 channels, where 12 are to be read"):
        read_as(held, RAW12)


def test_statistics_of_numbers_equal_numpy(tmp_path):
    folder_of(tmp_path, **{f"{i}__npy": npy(1e6 + BANDS[i:, :, :2].astype(np.float64)) for i in range(4)})
    dataset, _ = inspect_dataset(open_dataset(tmp_path))
    pixels = np.concatenate([dataset.load(i).reshape(-1, 2) for i in range(4)]).astype(np.float64)
    mean, std = channel_statistics(dataset)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-6)
    folder_of(tmp_path, **{f"{i}__npy": npy(np.full((3, 3, 2), [0.0, 7.0])) for i in range(4)})
    assert channel_statistics(inspect_dataset(open_dataset(tmp_path))[0])[1] == [1, 7]


def test_orientations_are_a_function_of_seed_epoch_and_index(tmp_path):
    folder_of(tmp_path, **{f"{i:02}__png": png(BYTES[..., :3]) for i in range(16)})
    dataset, _ = inspect_dataset(open_dataset(tmp_path))
    plain = Batches(dataset, MaskSettings((2, 2), "random"), (8, 8), (1.0, 1.0), 16, 0)
    turned = dataclasses.replace(plain, any_orientation=True)
    batches = [list(load_batches(turned, start, 4, workers)) for start, workers in ((0, 0), (2, 2))]
    assert all(torch.equal(a.images, b.images) for a, b in zip(batches[0][2:], batches[1], strict=True))
    assert len({batch.images[k].numpy().tobytes() for batch in batches[0] for k in range(16)}) == 8
    assert len({plain[step].images[k].numpy().tobytes() for step in range(4) for k in range(16)}) == 1


def test_orientations_are_the_eight_of_the_square():
    image = RNG.random((40, 60, 2)).astype(np.float32)
    crops = [oriented_crop(image, (8, 12), (1.5, 2, 52, 37.5), k) for k in range(8)]
    assert {crop.shape for crop in crops} == {(8, 12, 2)}
    assert len({crop.tobytes() for crop in crops}) == 8
    square = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    whole = [oriented_crop(square, (16, 16), (0, 0, 16, 16), k) for k in range(8)]
    for k in range(4):
        np.testing.assert_array_equal(whole[k], np.rot90(whole[0], k))
        np.testing.assert_array_equal(whole[k + 4], np.rot90(whole[0], k)[:, ::-1])
    np.testing.assert_array_equal(resize_centre_crop(square, (16, 16)), square)


def test_odd_dicom_warns_nobody():
    pytest.importorskip("pydicom")
    data = dicom(RNG.integers(0, 4096, (9, 11), dtype=np.uint16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert head(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.1000\x01.1.2.1\0")).size == (11, 9)


class Counted(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("kind", ["plain", "rle", "rle without offsets"])
def test_of_a_dicom_of_many_frames_one_is_read(kind):
    pydicom = pytest.importorskip("pydicom")
    values = RNG.integers(0, 4096, (20, 40, 50), dtype=np.uint16)
    data = dicom(values, NumberOfFrames=20, BitsStored=12, HighBit=11)
    if kind != "plain":
        whole = pydicom.dcmread(io.BytesIO(data))
        whole.compress(pydicom.uid.RLELossless, encapsulate_ext=False)
        if kind == "rle without offsets":
            frames = list(pydicom.encaps.generate_frames(whole.PixelData, number_of_frames=20))
            whole.PixelData = pydicom.encaps.encapsulate(frames, has_bot=False)
        whole.save_as(stream := io.BytesIO(), enforce_file_format=True)
        data = stream.getvalue()
    for page in (0, 7, 19):
        stream = Counted(data)
        found = read_pixels(stream, PixelFormat(1, "raw"), page)
        np.testing.assert_allclose(found[..., 0], values[page] / 4095, rtol=1e-6)
        assert stream.count < len(data) / 4
    stacked = read(data, PixelFormat(20, "raw", "channels"))
    np.testing.assert_allclose(stacked, np.moveaxis(values, 0, 2) / 4095, rtol=1e-6)
    if kind == "plain":
        with pytest.raises(BadImage, match=r"^truncated$"):
            read(data[:-1], PixelFormat(1, "raw"))
