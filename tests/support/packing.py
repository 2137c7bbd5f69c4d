"""One folder of images packed in every other way."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def as_zip(folder: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in reversed(names_in(folder)):
            archive.write(folder / name, name)
    return file


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def as_tar(folder: Path, file: Path, names: Iterable[str] | None = None, mode: str = "w") -> Path:
    with tarfile.open(file, mode) as archive:
        for name in reversed(names_in(folder)) if names is None else names:
            add(archive, name, (folder / name).read_bytes())
    return file


def as_shards(folder: Path, into: Path, count: int) -> Path:
    """WebDataset: a picture, its class and a caption for every key; the shards share the pictures out in order."""
    into.mkdir()
    names = names_in(folder)
    for number in range(count):
        with tarfile.open(into / f"data-{number:04d}.tar", "w") as archive:
            for name in names[len(names) * number // count : len(names) * (number + 1) // count]:
                key, top = name.rsplit(".", 1)[0].replace("/", "_"), name.split("/")[0]
                number_of_class = sorted({each.split("/")[0] for each in names}).index(top)
                add(archive, f"{key}.cls", str(number_of_class).encode())
                add(archive, f"{key}.jpg", (folder / name).read_bytes())
                add(archive, f"{key}.txt", b"a caption")
    return into


def as_table(folder: Path) -> pa.Table:
    """As Hugging Face datasets writes it."""
    names = names_in(folder)
    classes = sorted({name.split("/")[0] for name in names})
    images = [{"bytes": (folder / name).read_bytes(), "path": name.replace("/", "_")} for name in names]
    features = {"image": {"_type": "Image"}, "label": {"names": classes, "_type": "ClassLabel"}}
    table = pa.table({"image": images, "label": [classes.index(name.split("/")[0]) for name in names]})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def as_parquet(folder: Path, file: Path) -> Path:
    pq.write_table(as_table(folder), file, row_group_size=7)
    return file


CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': cat
          '1': dog
  splits:
  - name: train
    num_bytes: 1000
    num_examples: {count}
---
"""


def as_hub(folder: Path, into: Path) -> Path:
    """The files of a data set on the Hugging Face Hub, in two Parquet files."""
    table = as_table(folder)
    (into / "data").mkdir(parents=True)
    (into / "README.md").write_text(CARD.format(count=len(table)))
    for number, part in enumerate((table.slice(0, len(table) // 2), table.slice(len(table) // 2))):
        pq.write_table(part, into / f"data/train-0000{number}-of-00002.parquet")
    return into


def as_dicom(array: np.ndarray, **fields) -> bytes:
    """Grey uint8 or uint16 [H, W] as an uncompressed DICOM file; `fields` replace or add to what it says."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns, data.SamplesPerPixel = *array.shape[-2:], 1
    data.BitsAllocated = array.dtype.itemsize * 8
    data.BitsStored, data.HighBit, data.PixelRepresentation = data.BitsAllocated, data.BitsAllocated - 1, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    for name, value in fields.items():
        setattr(data, name, value)
    data.PixelData = array.tobytes()
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
