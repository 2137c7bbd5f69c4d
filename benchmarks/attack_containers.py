"""Hostile sets of images: folders, archives, tables, arrays and lists. Each function gives DATA for a command."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from attack_archives import tar, zip_file
from attack_files import Forge, damage, dump, hostile_image, images, lie, lying_lines, lying_text, png, small_image

ZERO = b"\0" * 2**20


# --- folders -------------------------------------------------------------------------------------------------------


def folder(forge: Forge) -> str:
    """A folder with hostile images, pipes, devices, links, and names that are no text."""
    root = forge.folder / forge.dice.choice(["set", "br[/x]k", "-set", "=set", "s\x1b[31met", "s et"])
    for name, data in images(forge):
        forge.file(f"{root.relative_to(forge.folder)}/{name}", data)
    for _ in range(forge.dice.choice([1, 1, 2, 4])):
        _put(forge, root / forge.dice.choice("ab"))
    if forge.chance(4):
        forge.file(
            f"{root.relative_to(forge.folder)}/{forge.dice.choice(['metadata.csv', 'metadata.jsonl'])}",
            _metadata(forge),
        )
    return str(root)


def _put(forge: Forge, place: Path) -> None:
    what = forge.dice.randrange(8)
    name = str(forge.dice.randrange(10)) + forge.dice.choice(
        ["p.png", "\x1b[31m.png", "=1.png", "[red].jpg", "a\nb.png", "\u202e.png", "-x.png"]
    )
    if os.path.lexists(place / name):
        return
    if what == 0:
        os.mkfifo(place / name)
    elif what == 1:
        target = forge.dice.choice([".", "..", name, "/dev/zero", "/dev/stdin", "/proc/self/mem", "gone"])
        (place / name).symlink_to(target)
    elif what == 2:
        (place / name).mkdir()
    elif what == 3:
        with open(os.fsencode(place) + b"/\xff\xfe" + bytes([forge.dice.randrange(128, 256)]) + b".png", "wb") as file:
            file.write(png(small_image(forge)))
    else:
        _, suffix, data = hostile_image(forge)
        (place / (name.rpartition(".")[0] + suffix)).write_bytes(data)


def _metadata(forge: Forge) -> bytes:
    rows = [{"file_name": f"{'ab'[n % 2]}/{n}.png", "label": "ab"[n % 2], "size": n} for n in range(4)]
    if forge.chance(2):
        return forge.dice.choice([b"5\n", b"[]\n", b"null\n", lying_lines(forge, b"\n".join(map(dump_line, rows)))])
    return lying_text(forge, b"file_name,label\n" + b"".join(b"a/%d.png,x\n" % n for n in (0, 2)))


def dump_line(row: dict) -> bytes:
    return json.dumps(row).encode()


# --- tables --------------------------------------------------------------------------------------------------------


def _table(forge: Forge) -> pa.Table:
    found = images(forge)
    cells = [{"bytes": data, "path": name} for name, data in found]
    for _ in range(forge.dice.choice([0, 1, 1])):
        path = forge.dice.choice(
            [f"{forge.guard}/secret.png", "../../guard/secret.png", "a/0.png", forge.word(), "/dev/zero"]
        )
        cells[forge.dice.randrange(len(cells))] = forge.dice.choice(
            [{"bytes": None, "path": path}, {"bytes": b"", "path": None}, {"bytes": None, "path": None}]
        )
    if forge.chance(3):
        cells[0]["bytes"] = hostile_image(forge)[2]
    labels = forge.dice.choice([[0, 1, 0, 1], [-1, 5, 2**40, 0], [None] * 4, ["[/red]", "\x1b[31m", "=1", ""]])
    features = {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    about = {"info": {"features": lie(forge, features) if forge.chance(2) else features}}
    name = forge.dice.choice(["label", "[/red]", "\x1b[31m", "count", "path"])
    table = pa.table({"image": cells, name: labels})
    return table.replace_schema_metadata({"huggingface": dump(about)})


def arrow(forge: Forge) -> str:
    """An Arrow file or stream whose rows, schema or buffers lie."""
    sink = pa.BufferOutputStream()
    table = _table(forge)
    with forge.dice.choice([pa.ipc.new_stream, pa.ipc.new_file])(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    return forge.file("set.arrow", damage(forge, data) if forge.chance(4) is False else data)


def parquet(forge: Forge) -> str:
    """A Parquet file with odd rows, damaged pages, or values that unpack to gigabytes."""
    if forge.chance(5):
        return forge.file("set.parquet", _parquet_bomb(forge))
    stream = io.BytesIO()
    pq.write_table(_table(forge), stream, compression=forge.dice.choice(["none", "snappy", "zstd", "gzip"]))
    data = stream.getvalue()
    return forge.file("set.parquet", damage(forge, data) if forge.chance(2) else data)


def _parquet_bomb(forge: Forge) -> bytes:
    """Rows that all refer to one large value, or a list of a great many paths."""
    stream = io.BytesIO()
    rows = forge.dice.choice([1_000, 100_000])
    if forge.chance(2):
        value = pa.array([ZERO * 4], pa.binary())
        column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), value)
        pq.write_table(pa.table({"image": column}), stream, compression="zstd", use_dictionary=True)
    else:
        names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 50_000]))
        pq.write_table(pa.table({"path": names, "label": names}), stream, compression="zstd")
    return stream.getvalue()


# --- arrays --------------------------------------------------------------------------------------------------------


def npz(forge: Forge) -> str:
    """A file of NumPy arrays that lie, hold objects, or unpack to gigabytes."""
    stream = io.BytesIO()
    pixels = forge.rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    labels = np.array(forge.dice.choice([[0, 1, 0, 1], [-1, 2**40, 0, 1], [0.5, np.nan, 1, 1]]))
    arrays = {"images": pixels, forge.dice.choice(["labels", "[/red]", "\x1b[31m"]): labels}
    if forge.chance(4):
        arrays["other"] = np.array([{"a": 1}, Owned(forge)], object)
    np.savez_compressed(stream, **arrays)
    data = stream.getvalue()
    if forge.chance(4):
        data = _npz_bomb(forge)
    elif forge.chance(2):
        data = damage(forge, data)
    return forge.file("set.npz", data)


class Owned:
    """Unpickled, it leaves a file in the guarded folder."""

    def __init__(self, forge: Forge) -> None:
        self.path = str(forge.guard / "owned")

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def _npz_bomb(forge: Forge) -> bytes:
    stream = io.BytesIO()
    side = forge.dice.choice([2**8, 2**11])
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (side, 2**10, 2**10)})
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as out,
    ):
        out.write(head.getvalue())
        for _ in range(min(side, 256)):
            out.write(ZERO)
    return stream.getvalue()


def npy(forge: Forge) -> str:
    """One array whose header lies."""
    stream = io.BytesIO()
    np.save(stream, forge.rng.integers(0, 256, (4, 16, 16), dtype=np.uint8))
    data = stream.getvalue()
    if forge.chance(2):
        shapes = [
            b"(-4, 16, 16)",
            b"(10**9,16,16)",
            b"(4, 99999, 99999)",
            b"(4, 16, 0)",
            b"(4, 16.0, 16)",
            b"(2**70, 1, 1)",
        ]
        data = data.replace(b"(4, 16, 16)", forge.dice.choice(shapes), 1)
    return forge.file("set.npy", damage(forge, data) if forge.chance(2) else data)


def hdf5(forge: Forge) -> str:
    """A file of HDF5 whose data lie elsewhere, are claimed and not there, or are damaged."""
    import h5py

    path, what = forge.folder / "set.h5", forge.dice.randrange(8)
    with h5py.File(path, "w") as file:
        pixels = forge.rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
        if what == 0:
            file.create_dataset("images", (2, 8, 8), "u1", external=[(f"{forge.guard}/secret.png", 0, 128)])
        elif what == 1:
            file["images"] = forge.dice.choice(
                [h5py.ExternalLink(f"{forge.guard}/secret.h5", "images"), h5py.SoftLink("/images")]
            )
        elif what == 2:
            shape = forge.dice.choice([(10**12, 8, 8), (10, 10**6, 10**6), (2**62, 8, 8)])
            file.create_dataset("images", shape, "u1", chunks=(1, 8, 8))
            file.create_dataset("labels", (shape[0],), "i8", chunks=(min(1024, shape[0]),))
        elif what == 3:
            file.create_dataset(
                "images", data=np.zeros((64, 1024, 1024), np.uint8), chunks=(64, 1024, 1024), compression="gzip"
            )
        elif what == 4:
            file["group"] = h5py.SoftLink("/")
            file["group/images"] = pixels
        else:
            file["images"] = pixels
            file["labels"] = np.array([0, 1, 0, 1])
            file[forge.dice.choice(["\x1b[31m", "[/red]", "x"])] = np.array([b"a", b"b", b"c", b"d"])
    if what > 4:
        forge.file("set.h5", damage(forge, path.read_bytes()))
    return str(path)


# --- lists ---------------------------------------------------------------------------------------------------------


def listing(forge: Forge) -> str:
    """A list of paths as text, CSV, TSV or Parquet, with labels that are hostile."""
    found = images(forge)
    for name, data in found:
        forge.file(name, data)
    names = [name for name, _ in found]
    names[0] = forge.dice.choice([names[0], forge.word(), "/dev/zero", "/dev/stdin", ".", "", "a/pipe.png", "x" * 5000])
    if names[0] == "a/pipe.png":
        os.mkfifo(forge.folder / names[0])
    suffix = forge.dice.choice([".csv", ".csv", ".tsv", ".txt"])
    between = "\t" if suffix == ".tsv" else ","
    column = forge.dice.choice(["label", "[/red]", "\x1b[31m", "=1", "count", "", "path"])
    labels = [forge.dice.choice(["a", "b", "", "9" * 5000, forge.word().replace("\n", " ")]) for _ in names]
    rows = [between.join(["path", column]), *(between.join(pair) for pair in zip(names, labels, strict=True))]
    text = "\n".join(names if suffix == ".txt" else rows).encode("utf-8", "replace")
    return forge.file("list" + suffix, lying_text(forge, text) if forge.chance(2) else text)


CONTAINERS: dict[str, Callable[[Forge], str]] = {
    "folder": folder,
    "tar": tar,
    "zip": zip_file,
    "Arrow": arrow,
    "Parquet": parquet,
    "npz": npz,
    "npy": npy,
    "HDF5": hdf5,
    "list": listing,
}
