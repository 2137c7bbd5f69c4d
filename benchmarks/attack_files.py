"""Damage: bytes, JSON and text that lie, and images of every format that do."""

import contextlib
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fuzz
import numpy as np
from attack_harmless import link_tree
from PIL import Image

ESCAPES = "\x1b[31m\x1b]0;t\x07", "\x9b2J", "a\u202eb", "x\r\ny", "z\u200b"
MARKUP = "[/red]", "[bold]", "<script>alert(1)</script>", "![t](http://evil.test/x)", ":bomb:", "{{7*7}}", "--out=x"
FORMULAS = "=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "=cmd|'/c calc'!A0"


class Raw(str):
    """Text that stands in JSON as it is."""


class Forge:
    """Makes the hostile files of one case: chance, a folder for them, harmless ones to damage, and baits.

    dice, rng   chance, of this case alone
    folder      for the inputs; the command runs in `work` beside it
    harmless    a folder of harmless inputs (attack_harmless.py)
    guard       a folder that nothing may touch
    url         that nothing may call
    """

    def __init__(self, seed: tuple[int, ...], folder: Path, harmless: Path, guard: Path, url: str) -> None:
        self.dice, self.rng = random.Random(repr(seed)), np.random.default_rng(seed)
        self.folder, self.harmless, self.guard, self.url = folder / "in", harmless, guard, url
        self.words = [
            *ESCAPES,
            *MARKUP,
            *FORMULAS,
            url + "/x",
            f"{guard}/secret.png",
            "../../guard/victim",
            "hf:evil/x",
        ]

    def file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def copy(self, name: str) -> str:
        """A copy of something harmless, which the command may write into."""
        return str(link_tree(self.harmless / name, self.folder / name))

    def word(self) -> str:
        return self.dice.choice(self.words)

    def chance(self, one_in: int) -> bool:
        return self.dice.randrange(one_in) == 0

    def value(self) -> Any:
        """A value that no reader of JSON should take for granted."""
        simple = [None, True, False, -1, 0, 1, 2.5, 1e308, -1e308, 10**9, 10**18, 2**63, 2**31 - 1, "", "0", "1e999"]
        raw = [Raw(text) for text in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[" * 100_000, "-0.0")]
        raw += [Raw('"\\ud800"'), Raw('{"a":1,"a":2}')]
        large = ["x" * 100_000, ["a"] * 10_000, [[[[]]]], {}, [], {"a": {"b": []}}, [None], {"": ""}, [0, -1], [1e400]]
        return self.dice.choice([*simple, *simple, *raw, *large, *self.words])


def small_image(forge: Forge, size: tuple[int, int] | None = None) -> Image.Image:
    size = size or forge.dice.choice([(24, 20), (33, 17), (64, 48)])
    rough = forge.rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def images(forge: Forge, count: int = 4) -> list[tuple[str, bytes]]:
    """(name, file) of harmless pictures in two classes."""
    return [(f"{'ab'[number % 2]}/{number}.png", png(small_image(forge))) for number in range(count)]


# --- bytes ---------------------------------------------------------------------------------------------------------


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    return data[:stop] + data[start:stop] * int(rng.integers(1, 4)) + data[stop:]


def _fill(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, 64))
    return (
        data[:start]
        + bytes([int(rng.choice([0, 255, 0x7F]))]) * min(length, len(data) - start)
        + data[start + length :]
    )


def _nothing(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.choice([0, 1, 4, 16]))]


DAMAGES = [*fuzz.MUTATIONS.values(), _repeat, _fill, fuzz.flip_bits, fuzz.lie_in_the_header, _nothing]


def damage(forge: Forge, data: bytes) -> bytes:
    """Bytes changed in one of several ways, or two."""
    for _ in range(forge.dice.choice([1, 1, 2])):
        if len(data) > 8:
            data = forge.dice.choice(DAMAGES)(data, forge.rng)
    return data


# --- JSON ----------------------------------------------------------------------------------------------------------


def places(value: Any, found: list | None = None) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a value."""
    found = [] if found is None else found
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items)[:200]:
        found.append((value, key))
        places(inner, found)
    return found


def lie(forge: Forge, value: Any) -> Any:
    """A JSON value of which one to three places are wrong."""
    value = json.loads(json.dumps(value))
    if forge.chance(15):
        return forge.value()
    for _ in range(forge.dice.choice([1, 1, 1, 2, 3])):
        found = places(value)
        if not found:
            return forge.value()
        holder, key = forge.dice.choice(found)
        _change(forge, holder, key)
    return value


def _change(forge: Forge, holder: Any, key: Any) -> None:
    what, old = forge.dice.randrange(10), holder[key]
    if what == 0 and isinstance(holder, dict):
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[forge.word()] = holder.pop(key)
    elif what == 2:
        holder[key] = [old]
    elif what == 3:
        holder[key] = str(old) if not isinstance(old, str) else 7
    elif what == 4 and isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = forge.dice.choice([-old, 0, old * 1_000_000, old + 1, old + 0.5, 10**30])
    elif what == 5 and isinstance(holder, dict):
        holder[forge.dice.choice(["checkpoint_path", "url", "file", "auto_map", "architecture", "__class__", "x"])] = (
            forge.word()
        )
    else:
        holder[key] = forge.value()


def dump(value: Any) -> bytes:
    """JSON in which Raw stands as it is."""
    raw: list[str] = []

    def plain(one: Any) -> Any:
        if isinstance(one, Raw):
            raw.append(one)
            return f"@raw{len(raw) - 1}@"
        if isinstance(one, dict):
            return {str(key): plain(inner) for key, inner in one.items()}
        return [plain(inner) for inner in one] if isinstance(one, list | tuple) else one

    text = json.dumps(plain(value), indent=1)
    for number, each in enumerate(raw):
        text = text.replace(f'"@raw{number}@"', each)
    return text.encode("utf-8", "surrogatepass")


def lying_json(forge: Forge, data: bytes) -> bytes:
    """A JSON file with wrong values, or damaged as bytes."""
    return damage(forge, data) if forge.chance(8) else dump(lie(forge, json.loads(data)))


def lying_lines(forge: Forge, data: bytes) -> bytes:
    """The same of a file with a JSON value in each line."""
    lines = data.splitlines() or [b"{}"]
    for _ in range(forge.dice.choice([1, 2])):
        row = forge.dice.randrange(len(lines))
        with contextlib.suppress(ValueError, RecursionError):  # of a line that is a lie already
            lines[row] = dump(lie(forge, json.loads(lines[row] or b"{}"))).replace(b"\n", b" ")
    return damage(forge, b"\n".join(lines)) if forge.chance(8) else b"\n".join(lines) + b"\n"


def lying_text(forge: Forge, data: bytes) -> bytes:
    """Text with a few of its words replaced."""
    if forge.chance(6):
        return damage(forge, data)
    text = data.decode("utf-8", "replace")
    for _ in range(forge.dice.choice([1, 2, 4])):
        start = forge.dice.randrange(len(text) + 1)
        length = forge.dice.choice([0, 1, 5])
        insert = forge.dice.choice(
            [*forge.words, "9" * 5000, '"', "\n", "\0", ",,,", "\ufeff", "-1", "nan", "1e400", "'"]
        )
        text = text[:start] + insert + text[start + length :]
    return text.encode("utf-8", "surrogatepass")


# --- images --------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """A hostile thing: what it is called, and the words of a command line without the command's own options."""

    name: str
    data: str


def _dicom(forge: Forge) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    pixels = forge.rng.integers(0, 4096, (20, 24), dtype=np.uint16)
    data, data.file_meta = Dataset(), FileMetaDataset()
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(entropy_srcs=["x"])
    data.Rows, data.Columns, data.SamplesPerPixel = 20, 24, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PhotometricInterpretation, data.PixelData = "MONOCHROME2", pixels.tobytes()
    lies = {
        "Rows": [0, 65535, 1],
        "Columns": [0, 65535, 3],
        "NumberOfFrames": [0, -1, 10**9, 3],
        "SamplesPerPixel": [0, 3, 65535],
        "BitsAllocated": [1, 7, 64, 0],
        "BitsStored": [0, 64],
        "PhotometricInterpretation": ["\x1b[31mX", "RGB", "PALETTE COLOR", ""],
        "RescaleSlope": [0, -1, 1e308],
        "WindowWidth": [0, -1],
    }
    if not forge.chance(4):
        name = forge.dice.choice(list(lies))
        setattr(data, name, forge.dice.choice(lies[name]))
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _npy(forge: Forge) -> bytes:
    stream = io.BytesIO()
    dtype = forge.dice.choice(["uint8", "uint16", "float32", "float64", "int64", "complex64", "U3", "M8[s]", "bool"])
    array = np.zeros(forge.dice.choice([(20, 24), (20, 24, 3), (20, 24, 12), (3, 20, 24), (0, 4), ()]), dtype)
    if array.dtype.kind == "f" and array.size:
        array.flat[0] = forge.dice.choice([np.nan, np.inf, 1e38, -1])
    np.save(stream, array)
    data = stream.getvalue()
    if forge.chance(3):
        shape = forge.dice.choice([b"(99999, 99999)", b"(-1, 5)", b"(10**9, 1)", b"([],)", b"(1e9,)"])
        data = data.replace(repr(array.shape).encode(), shape, 1)
    return data


def _stack(forge: Forge) -> bytes:
    """A TIFF of many pages, of pages that differ, or whose list of pages is a circle or is very long."""
    import tifffile

    stream, what = io.BytesIO(), forge.dice.randrange(4)
    count = forge.dice.choice([2, 3, 30])
    with tifffile.TiffWriter(stream) as writer:
        for number in range(count):
            side = 8 + (number if what == 1 else 0)
            writer.write(np.zeros((side, 8), np.uint8), photometric="minisblack", contiguous=False, metadata=None)
    data = bytearray(stream.getvalue())
    if what == 2:
        return _linked(data, 4)
    if what == 3:
        return _directories(forge.dice.choice([1000, 100_000]))
    return bytes(data)


def _linked(data: bytearray, back: int) -> bytes:
    """The last directory of a little-endian TIFF leads to the first again."""
    (first,) = struct.unpack_from("<I", data, back)
    place = first
    for _ in range(100):
        entries = struct.unpack_from("<H", data, place)[0]
        end = place + 2 + 12 * entries
        (following,) = struct.unpack_from("<I", data, end)
        if not following:
            struct.pack_into("<I", data, end, first)
            break
        place = following
    return bytes(data)


def _directories(count: int) -> bytes:
    """A TIFF of `count` directories of one grey pixel each."""
    tags = ((256, 3, 1), (257, 3, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (279, 4, 1))
    size = 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    parts = [b"II*\0", struct.pack("<I", 10), b"\x80\x80"]
    for number in range(count):
        following = 10 + size * (number + 1) if number + 1 < count else 0
        parts.append(struct.pack("<H", len(tags)) + entries + struct.pack("<I", following))
    return b"".join(parts)


def _text_chunk(forge: Forge) -> bytes:
    """A PNG with text that is compressed a thousandfold, or with an EXIF block that lies."""
    data = png(small_image(forge))
    body = forge.dice.choice(
        [
            b"zTXtComment\0\0" + zlib.compress(b"\0" * 20_000_000),
            b"iCCPx\0\0" + zlib.compress(b"\0" * 20_000_000),
            b"eXIfII*\0\x08\0\0\0" + forge.rng.bytes(40),
            b"acTL" + struct.pack(">II", 10**9, 0),
            b"tEXtTitle\0" + forge.word().encode("utf-8", "replace"),
        ]
    )
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


MADE: dict[str, tuple[str, Callable[[Forge], bytes]]] = {
    "DICOM": (".dcm", _dicom),
    "npy": (".npy", _npy),
    "TIFF stack": (".tif", _stack),
    "PNG with chunks": (".png", _text_chunk),
}
SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif"}


def hostile_image(forge: Forge) -> tuple[str, str, bytes]:
    """What it is, its suffix, and its bytes."""
    if forge.chance(3):
        name = forge.dice.choice(list(MADE))
        suffix, make = MADE[name]
        data = make(forge)
        return name, suffix, damage(forge, data) if forge.chance(2) else data
    encoded = fuzz.encodings(small_image(forge))
    name = forge.dice.choice(list(encoded))
    return name, SUFFIXES[name.split()[0]], damage(forge, encoded[name])
