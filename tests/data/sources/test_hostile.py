"""Sources made to crash, to balloon, to wait for ever, or to read other files: one line, or one image left out."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import socket
import struct
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.packing import add, as_table, as_tar, as_zip, names_in
from support.photos import draw_photos

from openjepa.data.open import open_dataset
from openjepa.data.storage.tar_reading import CHUNK
from openjepa.errors import BadImage, UsageError


def refusal(source) -> str:
    with pytest.raises(UsageError) as caught:
        open_dataset(source)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500
    return str(caught.value)


@pytest.fixture
def small(monkeypatch):
    """Less may be unpacked than usually, so that small bombs are enough."""
    monkeypatch.setenv("OPENJEPA_ALWAYS_UNPACKED", str(2**20))


@pytest.fixture
def quick():
    """Fails a test that takes longer than a bomb may."""
    begun = time.process_time()
    yield
    assert time.process_time() - begun < 5


def png(value: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_arrow(file, table: pa.Table, compression: str | None = None, kind=pa.ipc.new_stream):
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(file), "wb") as sink, kind(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return file


# Tables


def test_offsets_of_a_damaged_arrow_file_are_checked(tmp_path):
    table = pa.table({"image": [png(1), png(2)], "label": [0, 1]})
    content = bytearray(write_arrow(tmp_path / "a.arrow", table).read_bytes())
    offsets = struct.pack("<3i", 0, len(png(1)), len(png(1)) + len(png(2)))
    place = content.index(offsets)
    content[place : place + 12] = struct.pack("<3i", 0, 2**30, 2**30 + 5)
    (tmp_path / "a.arrow").write_bytes(content)
    assert "is not a readable Arrow file" in refusal(tmp_path / "a.arrow")


def test_hundreds_of_damaged_tables_end_in_one_line_or_are_read(tmp_path):
    table = as_table(draw_photos(tmp_path / "photos", 6))
    files = [write_arrow(tmp_path / "a.arrow", table), write_arrow(tmp_path / "b.arrow", table, kind=pa.ipc.new_file)]
    rng = np.random.default_rng(0)
    for number in range(300):
        content = bytearray(files[number % 2].read_bytes())
        near = [*range(900), *range(len(content) - 1500, len(content))]
        for place in rng.choice(near, 3):
            content[place] = rng.integers(256)
        (tmp_path / "mutant.arrow").write_bytes(content)
        try:
            dataset = open_dataset(tmp_path / "mutant.arrow")
        except UsageError:
            continue
        for index in range(len(dataset)):
            with contextlib.suppress(BadImage):
                dataset.load(index)


@pytest.mark.parametrize("kind", [pa.ipc.new_stream, pa.ipc.new_file])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_arrow_files_are_read_however_they_are_written(tmp_path, kind, compression):
    table = as_table(draw_photos(tmp_path / "photos", 6))
    dataset = open_dataset(write_arrow(tmp_path / "a.arrow", table, compression, kind))
    assert [dataset.read(row) for row in range(6)] == [each["bytes"] for each in table["image"].to_pylist()]
    assert dataset.labels["label"].tolist() == table["label"].to_pylist()


@pytest.mark.parametrize("name", ["bomb.parquet", "bomb.arrow"])
def test_tables_that_unpack_to_much_are_refused(tmp_path, name, cache, quick, small):
    table = pa.table({"image": [bytes(2**17)] * 80})
    if name.endswith("parquet"):
        pq.write_table(table, tmp_path / name, compression="zstd")
    else:
        write_arrow(tmp_path / name, table, "zstd")
    assert (tmp_path / name).stat().st_size < 2**16
    assert "OPENJEPA_MAX_" in refusal(tmp_path / name)
    assert not list(cache.rglob(".writing-*"))


def test_a_row_names_only_files_below_the_folder_of_its_table(tmp_path):
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "private.png")
    Image.new("RGB", (4, 4)).save(home / "deep/mine.png")
    (home / "link.png").symlink_to(tmp_path / "private.png")
    os.mkfifo(home / "pipe.png")
    paths = ["deep/mine.png", str(tmp_path / "private.png"), "../private.png", "link.png", "pipe.png", "http://x/y.png"]
    paths += ["deep/../deep/mine.png", str(home / "deep/mine.png"), "a\0b.png"]
    table = pa.table({"image": [{"bytes": None, "path": path} for path in paths]})
    table = table.cast(pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]))
    pq.write_table(table, home / "t.parquet")
    write_arrow(home / "t.arrow", table)
    for name in ("t.parquet", "t.arrow"):
        dataset = open_dataset(home / name)
        assert dataset.load(0).size == (4, 4)
        reasons = [reason_of(dataset, index) for index in range(1, len(paths))]
        assert reasons.pop(3) == "not a regular file"
        assert set(reasons) == {"names a file outside of the folder of its table"}


def reason_of(dataset, index) -> str:
    with pytest.raises(BadImage) as caught:
        dataset.load(index)
    return str(caught.value)


def test_odd_schemas_are_refused_or_read(tmp_path):
    images = [png(1), png(2)]
    for about in ('{"info": []}', "[" * 5000, '{"info": {"features": {"label": {"names": 5}, "image": 3}}}', "5"):
        table = pa.table({"image": images, "label": ["a", "b"]}).replace_schema_metadata({"huggingface": about})
        assert open_dataset(write_arrow(tmp_path / "a.arrow", table)).classes == {"label": ["a", "b"]}
    names = {"info": {"features": {"label": {"names": ["x"]}}}}
    table = pa.table({"image": images, "label": ["a", "b"]}).replace_schema_metadata({"huggingface": json.dumps(names)})
    assert open_dataset(write_arrow(tmp_path / "a.arrow", table)).classes == {"label": ["a", "b"]}
    twice = pa.Table.from_arrays([pa.array(images), pa.array(images)], ["image", "image"])
    assert "two columns image" in refusal(write_arrow(tmp_path / "b.arrow", twice))
    many = pa.table({"image": images} | {f"c{number}": [1, 2] for number in range(1001)})
    assert "OPENJEPA_MAX_COLUMNS" in refusal(write_arrow(tmp_path / "c.arrow", many))
    (tmp_path / "mixed").mkdir()
    write_arrow(tmp_path / "mixed/a.arrow", pa.table({"image": images}))
    write_arrow(tmp_path / "mixed/b.arrow", pa.table({"other": images}))
    (tmp_path / "mixed/state.json").write_text("{}")
    assert "has other columns than" in refusal(tmp_path / "mixed")


# Archives


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_compressed_tars_that_unpack_to_much_are_refused(tmp_path, pack, quick, small):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        add(archive, "zeros.png", bytes(20 * 2**20))
    suffix = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[pack]
    options = {} if pack is lzma.compress else {"compresslevel": 1}
    (tmp_path / f"bomb.tar.{suffix}").write_bytes(pack(stream.getvalue(), **options))
    del stream
    tracemalloc.start()
    assert "OPENJEPA_MAX_UNPACKED_RATIO" in str(open_dataset(tmp_path / f"bomb.tar.{suffix}").skipped)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_compressed_tars_of_several_streams_are_read_whole(tmp_path, pack):
    folder = draw_photos(tmp_path / "photos", 6)
    content = as_tar(folder, tmp_path / "a.tar", names_in(folder)).read_bytes()
    middle = len(content) // 2
    file = tmp_path / {gzip.compress: "a.tgz", bz2.compress: "a.tbz2", lzma.compress: "a.txz"}[pack]
    file.write_bytes(pack(content[:middle]) + pack(content[middle:]))
    dataset = open_dataset(file)
    assert [dataset.read(row) for row in range(6)] == [(folder / name).read_bytes() for name in names_in(folder)]
    assert CHUNK < 2**20


def header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """A tar header with `size` as it is stored, its checksum right."""
    about = tarfile.TarInfo(name)
    about.type = kind
    block = bytearray(about.tobuf(tarfile.USTAR_FORMAT)[:512])
    block[124:136] = size.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


NEGATIVE = b"\xff" * 10 + b"\xfc\x00"
RECORDS = {
    "a size below zero": header("a.png", NEGATIVE),
    "a size of exabytes": header("a.png", b"\x80\0\0\0" + (2**62).to_bytes(8, "big")),
    "a long name of a size below zero": header("a", NEGATIVE, b"L"),
    "a long name of gigabytes": header("a", b"77777777777", b"L"),
    "records of gigabytes": header("a", b"77777777777", b"x"),
    "a record that is no number": header("a", b"00000000020", b"x") + b"5 5 5=5=======\n\n".ljust(512, b"\0"),
    "a size of many digits": header("a", b"%011o" % 5017, b"x")
    + (b"5017 size=" + b"9" * 5006 + b"\n").ljust(5120, b"\0"),
    "a size in words": header("a", b"00000000020", b"x") + b"16 size=-999999\n".ljust(512, b"\0"),
    "a map of a sparse file": header("a", b"%011o" % 35, b"x")
    + b"35 GNU.sparse.map=1,two,3,4,5,6,7,\n".ljust(512, b"\0"),
}


@pytest.mark.parametrize("what", RECORDS)
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_headers_of_tars_that_lead_nowhere_end_the_archive(tmp_path, what, suffix, quick):
    good = as_tar(draw_photos(tmp_path / "photos", 2), tmp_path / "good.tar").read_bytes()
    content = (
        good[: good.rindex(b"dog/") // 512 * 512] + RECORDS[what] + header("dog/9.jpg", b"00000000000") + bytes(1024)
    )
    file = tmp_path / f"bad.{suffix}"
    file.write_bytes(gzip.compress(content) if suffix == "tar.gz" else content)
    try:
        dataset = open_dataset(file)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert "cat/000.jpg" in list(dataset.paths) or len(dataset)


def test_folders_of_a_zip_with_backslashes_are_classes(tmp_path):
    folder = draw_photos(tmp_path / "photos", 6)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names_in(folder):
            archive.writestr(name.replace("/", "\\"), (folder / name).read_bytes())
        archive.writestr("..\\out.jpg", png())
    dataset, plain = open_dataset(tmp_path / "a.zip"), open_dataset(as_zip(folder, tmp_path / "b.zip"))
    assert dataset.classes == plain.classes == {"class": ["cat", "dog"]} and list(dataset.paths) == list(plain.paths)
    assert all(dataset.read(row) == plain.read(row) for row in range(6))
    assert dataset.skipped == [("../out.jpg", "points outside of the archive")]
    assert len(open_dataset(tmp_path / "a.zip/cat")) == 3


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_a_zip_that_lie_about_their_size_are_bad_images(tmp_path, method, quick):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("bomb.png", bytes(2**23))
        archive.writestr("good.png", png())
    if method == zipfile.ZIP_LZMA:
        assert "packed in a way that is not read" in reason_of(open_dataset(tmp_path / "a.zip"), 1)
        return
    content = bytearray((tmp_path / "a.zip").read_bytes())
    place = content.index(b"PK\1\2") + 24
    assert open_dataset(tmp_path / "a.zip").load(1).size == (4, 4)
    for size, reason in ((2**29, "OPENJEPA_MAX_MEMBER_BYTES"), (1000, "damaged|CRC")):
        content[place : place + 4] = struct.pack("<I", size)
        (tmp_path / "b.zip").write_bytes(content)
        tracemalloc.start()
        with pytest.raises(BadImage, match=reason):
            open_dataset(tmp_path / "b.zip").load(0)
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()


# Arrays


def npy_header(text: str, version: bytes = b"\1\0") -> bytes:
    head = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head


def test_arrays_of_python_2_are_read_without_a_warning(tmp_path):
    """Their headers have whole numbers as 4L, which numpy reads and warns of. Warnings are errors here."""
    header = npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (4L, 8L, 8L), }")
    (tmp_path / "a.npy").write_bytes(header + bytes(4 * 8 * 8))
    assert len(open_dataset(tmp_path / "a.npy")) == 4


HEADERS = {
    "more than there is": "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 8, 8)}",
    "sides below zero": "{'descr': '|u1', 'fortran_order': False, 'shape': (-4, -8, 8)}",
    "no whole numbers": "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 8, 8)}",
    "a huge product": "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (4, 8, 8)}",
    "no type": "{'descr': 'nope', 'fortran_order': False, 'shape': (4, 8, 8)}",
    "a list as a key": "{[]: 1}",
    "half a literal": "{'descr': '|u1', 'fortran",
    "deep": "(" * 100,
}


@pytest.mark.parametrize("what", HEADERS)
def test_headers_of_arrays_that_lie_are_refused(tmp_path, what):
    content = npy_header(HEADERS[what]) + bytes(300)
    (tmp_path / "a.npy").write_bytes(content)
    assert "is not a readable file of arrays" in refusal(tmp_path / "a.npy")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.npy").write_bytes(content)
    assert reason_of(open_dataset(tmp_path / "folder"), 0)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    assert "a.npz" in refusal(tmp_path / "a.npz")


def test_an_npz_that_unpacks_to_much_is_refused_before_it_is_read(tmp_path, quick, small):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        text = "{'descr': '|u1', 'fortran_order': False, 'shape': (10, 1024, 1024, 1)}"
        archive.writestr("a.npy", npy_header(text) + bytes(10 * 2**20))
    assert "OPENJEPA_MAX_UNPACKED_RATIO raises the limit" in refusal(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros((5, 8, 8), np.uint8), x_kind=np.arange(5) % 2, note="words")
    dataset = open_dataset(tmp_path / "b.npz")
    assert len(dataset) == 5 and dataset.classes == {"x_kind": ["0", "1"]}


# HDF5


def test_hdf5_reads_no_other_file_and_no_more_than_is_there(tmp_path, quick):
    h5py = pytest.importorskip("h5py")
    images = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    (tmp_path / "secret.raw").write_bytes(images.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = images
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("outside", images.shape, "u1", external=[(tmp_path / "secret.raw", 0, images.nbytes)])
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
        layout = h5py.VirtualLayout(images.shape, "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", images.shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("endless", (10**12, 8, 8), "u1", chunks=(1, 8, 8))
        file.create_dataset("packed", data=images, compression="gzip", chunks=(2, 8, 8, 3))
        file.create_dataset("plain", data=images)
    for name in ("outside", "virtual"):
        assert "in other files, which are not opened" in refusal(tmp_path / f"a.h5/{name}")
    assert "no array of images called linked" in refusal(tmp_path / "a.h5/linked")
    assert "OPENJEPA_MAX_ENTRIES" in refusal(tmp_path / "a.h5/endless")
    for name in ("packed", "plain"):
        dataset = open_dataset(tmp_path / f"a.h5/{name}")
        assert all(np.array_equal(np.asarray(dataset.load(row)), images[row]) for row in (5, 0))


def test_damaged_hdf5_is_refused_or_loses_images(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        images = np.random.default_rng(0).integers(0, 255, (6, 8, 8), dtype=np.uint8)
        file.create_dataset("x", data=images, compression="gzip", chunks=(1, 8, 8))
    content = (tmp_path / "a.h5").read_bytes()
    rng = np.random.default_rng(1)
    for number in range(6):
        broken = bytearray(content)
        for place in rng.integers(0, len(content), 1 + 200 * number):
            broken[place] ^= 255
        (tmp_path / "b.h5").write_bytes(broken)
        try:
            dataset = open_dataset(tmp_path / "b.h5")
            for row in range(len(dataset)):
                dataset.load(row)
        except UsageError as error:
            assert "\n" not in str(error)
        except BadImage:
            pass


# Special files


def test_pipes_sockets_and_devices_are_not_waited_for(tmp_path, quick):
    folder = draw_photos(tmp_path / "photos", 4, ())
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.jpg"))
        (folder / "zero.jpg").symlink_to("/dev/zero")
        for pattern in ("*.jpg", "{pipe,000,socket,zero}.jpg"):
            dataset = open_dataset(folder / pattern)
            special = dict(dataset.skipped)
            assert {special[name] for name in ("pipe.jpg", "socket.jpg", "zero.jpg")} == {"not a regular file"}
        (tmp_path / "list.txt").write_text("photos/pipe.jpg\nphotos/000.jpg\nphotos/zero.jpg\n")
        assert list(open_dataset(tmp_path / "list.txt").paths) == ["photos/000.jpg"]
        os.mkfifo(tmp_path / "pipe.tar")
        for name in ("pipe.tar", "pipe.*", "photos/{pipe,zero}.jpg"):
            refusal(tmp_path / name)
    dataset = open_dataset(folder)
    (folder / "000.jpg").unlink()
    os.mkfifo(folder / "000.jpg")
    assert reason_of(dataset, 0) == "not a regular file"


# Lists


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metadata.jsonl", "5", "a line is 5, where an object was expected"),
        ("metadata.jsonl", '{"file_name": "000.jpg"}\nnull', "a line is null, where an object was expected"),
        ("metadata.jsonl", "[" * 100_000, "is not understood"),
        ("metadata.jsonl", '{"file_name": "\\ud800.jpg"}', "is not understood"),
        ("metadata.jsonl", '{"a": 1' + "0" * 5000 + "}", "is not understood"),
        ("metadata.jsonl", "\n".join(json.dumps({f"{n}": 1}) for n in range(1001)), "OPENJEPA_MAX_COLUMNS"),
        ("metadata.csv", "path,kind\n000.jpg,a,b\n", "row 2 has 3 values"),
        ("metadata.csv", "path," + ",".join(map(str, range(1000))), "OPENJEPA_MAX_COLUMNS"),
    ],
)
def test_metadata_that_cannot_be_is_refused(tmp_path, name, content, said):
    folder = draw_photos(tmp_path / "p", 4, ())
    (folder / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        open_dataset(folder)


def test_labels_of_many_digits_are_texts(tmp_path):
    draw_photos(tmp_path / "p", 4, ())
    labels = ("9" * 5000, "--5", "-5", "7")
    rows = "".join(f"p/{number:03}.jpg,{labels[number % 2 + 2 * (number // 2)]}\n" for number in range(4))
    rows += "".join(f"p/{number:03}.jpg,{labels[number]}\n" for number in range(4))
    (tmp_path / "list.csv").write_text("path,kind\n" + rows)
    dataset = open_dataset(tmp_path / "list.csv")
    assert len(dataset) == 4


def test_lists_that_are_too_long_are_refused(tmp_path, monkeypatch):
    draw_photos(tmp_path / "p", 4, ())
    (tmp_path / "list.txt").write_text("p/000.jpg\n" * 100)
    monkeypatch.setenv("OPENJEPA_MAX_LIST_BYTES", "500")
    assert "OPENJEPA_MAX_LIST_BYTES raises it" in refusal(tmp_path / "list.txt")
    monkeypatch.delenv("OPENJEPA_MAX_LIST_BYTES")
    monkeypatch.setenv("OPENJEPA_MAX_ENTRIES", "50")
    assert "100 rows" in refusal(tmp_path / "list.txt")
