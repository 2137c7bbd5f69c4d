"""A smaller copy of a data set in shards; each depends on its images alone and is written whole or not at all."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from openjepa._version import __version__
from openjepa.data.crops import resized, size_of
from openjepa.data.dataset import UNLABELLED, ImageDataset, ImageFiles, fingerprint
from openjepa.data.decoding.pillow import picture_format
from openjepa.data.decoding.pixel_format import Pixels
from openjepa.data.storage.storage import Skipped
from openjepa.data.workers import mapped, workers_for
from openjepa.errors import BadImage, UsageError
from openjepa.files import atomic_file, usage_error, write_json

SHARD_SUFFIXES = {"shards": "tar", "parquet": "parquet"}
KEPT = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp"}  # suffixes of files that stay as they are
FILE, LEFT_OUT = "prepare.json", ".skipped"
FORMATS = ("jpg", "png")


@dataclass(frozen=True)
class Shrinking:
    """Images of `dataset` at a shorter side of at most `size` pixels, `per_shard` in each file below `folder`."""

    dataset: ImageDataset
    folder: Path
    size: int
    to: str = "shards"
    format: str = "jpg"
    quality: int = 95
    per_shard: int = 1000

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.per_shard)

    def path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:06}.{SHARD_SUFFIXES[self.to]}"

    def missing(self) -> list[int]:
        return [shard for shard in range(len(self)) if not self.path(shard).exists()]

    def write(self, shard: int) -> None:
        """Write one shard, whole or not at all. Raises OSError."""
        skipped: Skipped = []
        write = {"shards": _write_tar, "parquet": _write_parquet}[self.to]
        with atomic_file(self.path(shard)) as part:
            write(part, self.rows(shard, skipped), self.dataset.classes)
            left_out = self.folder / LEFT_OUT / f"{shard:06}.json"
            if skipped:
                write_json(left_out, skipped)
            else:
                left_out.unlink(missing_ok=True)

    def rows(self, shard: int, skipped: Skipped) -> Iterator[tuple[int, str, str, bytes, dict[str, int]]]:
        """(index, path, suffix, file, labels) of each readable image of a shard; the others are added to `skipped`."""
        for index in range(shard * self.per_shard, min(len(self.dataset), (shard + 1) * self.per_shard)):
            path = self.dataset.paths[index]
            try:
                suffix, data = self._file(index)
            except BadImage as error:
                skipped.append((path, str(error)))
                continue
            yield index, path, suffix, data, {name: int(values[index]) for name, values in self.dataset.labels.items()}

    def _file(self, index: int) -> tuple[str, bytes]:
        image = self.dataset.load(index)
        small = self.dataset.pixel_format.picture and min(size_of(image)) <= self.size
        if small and isinstance(self.dataset, ImageFiles) and not self.dataset.pages[index]:
            data = self.dataset.read(index)
            if suffix := KEPT.get(picture_format(data)):
                return suffix, data
        pixels = stored(shrunk(image, self.size), self.dataset.pixel_format.values)
        return encoded(pixels, self.format, self.quality)

    def claim(self, source: str) -> int:
        """Make the folder, or find a copy of the same images with the same settings; returns its finished files.

        Raises UsageError if the folder holds something else or cannot be written.
        """
        now, file = self.about(source), self.folder / FILE
        if not file.is_file():
            if self.folder.exists() and any(not path.name.startswith(".") for path in self.folder.iterdir()):
                raise UsageError(f"{self.folder} exists and is not empty: give another name")
            with usage_error(self.folder):
                write_json(file, now)
            return 0
        try:
            then = json.loads(file.read_text())
            then = {"pixel_format": then.get("reading"), **then}  # as older versions called it
        except (OSError, ValueError, AttributeError) as error:
            raise UsageError(f"{file} is damaged ({error}): give another name") from error
        if changed := [name for name in now if name != "openjepa_version" and now[name] != then.get(name)]:
            raise UsageError(
                f"{self.folder} was begun with another {changed[0]} ({then.get(changed[0])}, now {now[changed[0]]}): "
                "give the first value to continue, or another name"
            )
        return len(self) - len(self.missing())

    def about(self, source: str) -> dict:
        """What decides every byte of the copy; JSON-able."""
        return {
            "source": source,
            **{"size": self.size, "to": self.to, "format": self.format},
            **{"quality": self.quality, "per_shard": self.per_shard},
            "pixel_format": asdict(self.dataset.pixel_format),
            "images": len(self.dataset),
            "paths": fingerprint(self.dataset),
            "openjepa_version": __version__,
        }

    def bytes_written(self) -> int:
        """The bytes of all files, which must be there."""
        return sum(self.path(shard).stat().st_size for shard in range(len(self)))

    def skipped(self) -> Skipped:
        """What shards that are there have left out."""
        files = sorted((self.folder / LEFT_OUT).glob("*.json"))
        return [tuple(entry) for file in files for entry in json.loads(file.read_text())]


def shrunk(image: Pixels, size: int) -> np.ndarray:
    """The whole image at a shorter side of `size` pixels, or as it is where that is smaller: [H, W, C]."""
    width, height = size_of(image)
    scale = min(1.0, size / min(width, height))
    return resized(image, (max(1, round(height * scale)), max(1, round(width * scale))), (0, 0, width, height))


def encoded(pixels: np.ndarray, format_: str, quality: int) -> tuple[str, bytes]:
    """A suffix and a file: 8-bit pictures as `format_` (jpg or png), 16-bit grey as PNG, all else as .npy."""
    stream, channels = io.BytesIO(), pixels.shape[2]
    deep_grey = pixels.dtype == np.uint16 and channels == 1
    if not deep_grey and (pixels.dtype != np.uint8 or channels not in (1, 3)):
        np.save(stream, pixels)
        return "npy", stream.getvalue()
    suffix = "png" if deep_grey else format_
    options = {"format": "JPEG", "quality": quality, "subsampling": 0} if suffix == "jpg" else {"format": "PNG"}
    Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels).save(stream, **options)
    return suffix, stream.getvalue()


def stored(pixels: np.ndarray, values: str) -> np.ndarray:
    """Pixels as numbers that are read the same way again: fractions of full scale become 16 bits."""
    return np.rint(pixels.clip(0, 1) * 65535).astype(np.uint16) if values == "unit" else pixels


def _write_tar(path: Path, rows: Iterator, classes: dict[str, list[str]]) -> None:
    with tarfile.open(path, "w") as archive:
        for index, name, suffix, data, labels in rows:
            named = {label: classes[label][number] for label, number in labels.items() if number != UNLABELLED}
            _add(archive, f"{index:09}.{suffix}", data)
            if (first := next(iter(classes), "")) in named:
                _add(archive, f"{index:09}.cls", named[first].encode())
            _add(archive, f"{index:09}.json", json.dumps({"path": name, **named}).encode())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)  # without a date: the same images give the same bytes
    about.size = len(data)
    archive.addfile(about, io.BytesIO(data))


def _write_parquet(path: Path, rows: Iterator, classes: dict[str, list[str]]) -> None:
    """Rows as Hugging Face datasets has them: image {bytes, path}, and a column of class numbers for each label."""
    features: dict[str, dict] = {"image": {"_type": "Image"}}
    features |= {label: {"_type": "ClassLabel", "names": names} for label, names in classes.items()}
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema([("image", image), *((label, pa.int64()) for label in classes)])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for _, name, _, data, labels in rows:
            row = {"image": {"bytes": data, "path": name}, **labels}
            writer.write_batch(pa.RecordBatch.from_pylist([row], schema=schema))


def write_missing(shrinking: Shrinking, workers: int, progress: Callable[[int, int], None]) -> None:
    """Write every shard that is not there, in `workers` processes (0: in this one). Raises OSError."""
    waiting = shrinking.missing()
    done, workers = len(shrinking) - len(waiting), workers_for(shrinking.dataset, workers)
    for number, _ in enumerate(mapped(Shrinking.write, shrinking, waiting, workers), done + 1):
        progress(number, len(shrinking))
