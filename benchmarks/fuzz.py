"""Thousands of damaged image files: none may crash or hang the reader, or fill the memory; every failure is listed.

    python benchmarks/fuzz.py photos/ --json fuzz.json

A few images of the source are written in every format, then damaged: bits flipped, ends cut off, headers made to lie.
Each file is read in a process of its own kind, which is watched. The same seed damages the same files the same way.
"""

import argparse
import contextlib
import io
import itertools
import json
import multiprocessing
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from openjepa.data.decoding.pixel_format import RGB, choose_pixel_format
from openjepa.data.decoding.read import read_header, read_pixels
from openjepa.errors import BadImage

HANG, SLOW, MEMORY = 20.0, 2.0, 2**30  # seconds until a process is ended; CPU seconds and bytes that a file may cost
NUMBERS = (0, 1, 2, 3, 7, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def encodings(image: Image.Image) -> dict[str, bytes]:
    """The image as files: eight bits in five formats, sixteen in two, twelve bands of float32."""
    import tifffile

    def saved(format_: str, picture: Image.Image = image, **options) -> bytes:
        stream = io.BytesIO()
        picture.save(stream, format_, **options)
        return stream.getvalue()

    def tiff(array: np.ndarray, **options) -> bytes:
        stream = io.BytesIO()
        tifffile.imwrite(stream, array, photometric="minisblack", **options)
        return stream.getvalue()

    deep = np.asarray(image.convert("L"), np.uint16) * 257
    bands = np.repeat(np.asarray(image, np.float32), 4, axis=2)
    return {
        "jpeg": saved("JPEG"),
        "jpeg progressive": saved("JPEG", progressive=True),
        "png": saved("PNG"),
        "png palette": saved("PNG", image.quantize(64)),
        "png 16 bit": saved("PNG", Image.fromarray(deep)),
        "webp": saved("WEBP"),
        "webp lossless": saved("WEBP", lossless=True),
        "tiff": saved("TIFF"),
        "tiff LZW": saved("TIFF", compression="tiff_lzw"),
        "tiff JPEG": saved("TIFF", compression="jpeg"),
        "tiff 16 bit deflate": tiff(deep, compression="zlib", predictor=True),
        "tiff 12 bands": tiff(bands, planarconfig="contig"),
        "tiff 12 bands tiled": tiff(bands, planarconfig="contig", compression="zlib", tile=(32, 32)),
    }


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    broken = bytearray(data)
    for place in rng.integers(0, 8 * len(data), rng.integers(1, 30)):
        broken[place // 8] ^= 1 << (place % 8)
    return bytes(broken)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(0, len(data))]


def lose_the_middle(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = sorted(rng.integers(0, len(data), 2))
    return data[:start] + data[stop:]


def lie_in_the_header(data: bytes, rng: np.random.Generator) -> bytes:
    """A number near the start, or near the end where TIFF has its directory, replaced by one that matters."""
    broken, width = bytearray(data), int(rng.choice([1, 2, 4]))
    near = int(rng.integers(0, min(512, len(data) - width)))
    place = near if rng.random() < 0.6 else len(data) - width - near
    value = int(rng.choice(NUMBERS)) % 256**width
    broken[place : place + width] = value.to_bytes(width, str(rng.choice(["little", "big"])))
    return bytes(broken)


def lie_about_size(data: bytes, rng: np.random.Generator) -> bytes:
    """Width and height replaced, checksums mended, so that the lie is believed."""
    width, height = (int(rng.choice([1, 300, 5000, 9459, 20000, 65500])) for _ in range(2))
    if data[:4] == b"\x89PNG":
        body = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    if data[:2] == b"\xff\xd8":
        start = max(data.find(marker) for marker in (b"\xff\xc0\0", b"\xff\xc2\0"))
        return data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 :]
    if data[:4] == b"RIFF" and data[12:16] == b"VP8 ":
        return data[:26] + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + data[30:]
    if data[:4] == b"II*\0":
        with contextlib.suppress(struct.error):  # its directory is damaged already
            return _in_tiff(_in_tiff(data, 256, width), 257, height)
    return lie_in_the_header(data, rng)


def _in_tiff(data: bytes, tag: int, value: int) -> bytes:
    (start,) = struct.unpack_from("<I", data, 4)
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * entry
        name, kind = struct.unpack_from("<HH", data, place)
        if name == tag:
            return (
                data[: place + 8]
                + struct.pack("<I" if kind == 4 else "<HH", value, *[0] * (kind != 4))
                + data[place + 12 :]
            )
    return data


MUTATIONS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "bits flipped": flip_bits,
    "cut": cut,
    "middle lost": lose_the_middle,
    "header lies": lie_in_the_header,
    "size lies": lie_about_size,
}


def mutations(images: list[Image.Image], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(name, file) of `count` damaged files."""
    files = [(format_, data) for image in images for format_, data in encodings(image).items()]
    kinds = itertools.product(MUTATIONS, range(len(files)))
    for number, (kind, which) in zip(range(count), itertools.cycle(kinds), strict=False):
        rng = np.random.default_rng([seed, number])
        format_, data = files[which]
        yield f"{number:05} {format_}, {kind}", MUTATIONS[kind](data, rng)


def attempt(data: bytes) -> str:
    """Reads a file as 8-bit RGB and as suits it; "read", or why not. Anything but BadImage comes out."""
    said = []
    for suited in (False, True):
        try:
            pixel_format = choose_pixel_format([read_header(io.BytesIO(data))], "") if suited else RGB
            read_pixels(io.BytesIO(data), pixel_format)
        except BadImage as error:
            said.append(str(error))
    return "; ".join(dict.fromkeys(said)) or "read"


def serve(pipe) -> None:
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError:
            return
        begun = time.process_time()
        try:
            said, wrong = attempt(data), ""
        except BaseException as error:
            said, wrong = "", f"{type(error).__name__}: {error}"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pipe.send((said, wrong, time.process_time() - begun, memory))


class Reader:
    """A process that reads files, begun anew where one ended it."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=serve, args=(there,), daemon=True)
        self.process.start()
        there.close()

    def read(self, data: bytes) -> tuple[str, str, float, int]:
        self.pipe.send_bytes(data)
        try:
            if self.pipe.poll(HANG):
                return self.pipe.recv()
            wrong = f"hang over {HANG:g} s"
        except EOFError:
            self.process.join()
            wrong = f"crash (exit code {self.process.exitcode})"
        self.process.kill()
        self.begin()
        return "", wrong, HANG, 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", help="real images to damage: a folder, a zip or any other source")
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--images", type=int, default=3, help="images of the source that are taken")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to list every damaged file and what came of it")
    given = parser.parse_args()
    from openjepa.data.open import open_dataset

    dataset = open_dataset(given.source)
    order = np.random.default_rng(given.seed).permutation(len(dataset))
    images = [dataset.load(int(index)) for index in order[: given.images]]
    rows, reader = [], Reader()
    reader.read(b"")  # so that importing counts for no file
    for name, data in mutations(images, given.mutations, given.seed):
        said, wrong, seconds, memory = reader.read(data)
        if memory > MEMORY:
            wrong = wrong or f"{memory / 2**20:,.0f} MiB"
            reader.process.kill()
            reader.begin()
        wrong = wrong or (f"{seconds:.1f} s" if seconds > SLOW else "")
        rows.append(
            {"file": name, "bytes": len(data), "said": said, "wrong": wrong, "seconds": seconds, "memory": memory}
        )
    report(rows)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["wrong"] for row in rows))


def report(rows: list[dict]) -> None:
    wrong = [row for row in rows if row["wrong"]]
    read = sum(row["said"] == "read" for row in rows)
    print(f"{len(rows):,} damaged files: {read:,} read all the same, {len(rows) - read - len(wrong):,} refused")
    slowest, largest = (max(rows, key=lambda row: row[key]) for key in ("seconds", "memory"))
    print(f"slowest {slowest['seconds']:.2f} s of CPU ({slowest['file']})")
    print(f"largest process {largest['memory'] / 2**20:,.0f} MiB, after {largest['file']}")
    reasons = Counter(row["said"].split(" (")[0].split("; ")[0] for row in rows if row["said"] != "read")
    print("refused as:", ", ".join(f"{reason or '(wrong)'} {count:,}" for reason, count in reasons.most_common(12)))
    print(f"{len(wrong):,} went wrong", *(f"  {row['file']}: {row['wrong']}" for row in wrong), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
