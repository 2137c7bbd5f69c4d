"""docs/data.md says what works: every command of its table is run, hubs and object stores on this machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from support.packing import as_dicom, as_parquet, as_shards, as_table, as_tar, as_zip, names_in
from support.photos import draw_photos

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
FIRST = (
    "openjepa pretrain photos/ --out runs/photos --steps 2 --batch-size 8 --workers 0 --recipe laptop "
    "--log-every 1 --device cpu --precision float32"
)


def commands() -> list[str]:
    return re.findall(r"^\|.*?`(openjepa [^`]+)`", PAGE.read_text(), re.MULTILINE)


def pack(home: Path) -> None:
    """What the commands of the page name."""
    photos = draw_photos(home / "photos", 24, side=32)
    names = names_in(photos)
    draw_photos(home / "imagefolder", 6, (), side=32)
    rows = "".join(f"{i:03}.jpg,{'ab'[i % 2]}\n" for i in range(6))
    (home / "imagefolder/metadata.csv").write_text("file_name,kind\n" + rows)
    (home / "list.txt").write_text("".join(f"photos/{name}\n" for name in names))
    (home / "list.csv").write_text("path,kind\n" + "".join(f"photos/{name},{name[:3]}\n" for name in names))
    pq.write_table(pa.table({"path": [f"photos/{name}" for name in names]}), home / "list.parquet")
    as_zip(photos, home / "photos.zip")
    as_tar(photos, home / "photos.tar")
    as_tar(photos, home / "photos.tar.gz", names, "w:gz")
    as_shards(photos, home / "shards", 3)
    (home / "table").mkdir()
    as_parquet(photos, home / "table/photos.parquet")
    (home / "saved").mkdir()
    table = as_table(photos)
    with pa.ipc.new_stream(str(home / "saved/data.arrow"), table.schema) as file:
        file.write_table(table)
    (home / "saved/state.json").write_text("{}")
    draw_numbers(home)


def draw_numbers(home: Path) -> None:
    """Images of other channels and depths, 8 a folder."""
    rng = np.random.default_rng(0)
    for number in range(8):
        bands = rng.normal(500, 90, (20, 40, 12)).astype(np.float32)
        grey = rng.integers(0, 65536, (20, 40), dtype=np.uint16)
        for folder in ("bands", "grey", "stacks", "arrays", "scans"):
            (home / folder).mkdir(exist_ok=True)
        tifffile.imwrite(home / f"bands/{number}.tif", bands, photometric="minisblack", planarconfig="contig")
        tifffile.imwrite(home / f"stacks/{number}.tif", bands.transpose(2, 0, 1), photometric="minisblack")
        Image.fromarray(grey).save(home / f"grey/{number}.png")
        np.save(home / f"arrays/{number}.npy", bands[..., :5])
        (home / f"scans/{number}.dcm").write_bytes(as_dicom(grey))
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 40, 3), dtype=np.uint8)
    np.save(home / "photos.npy", pixels)
    np.savez(home / "photos.npz", train_images=pixels[:6], train_labels=np.arange(6) % 2, test_images=pixels[6:])
    h5py = pytest.importorskip("h5py")
    with h5py.File(home / "photos.h5", "w") as file:
        file["group/images"] = pixels[..., 0]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    for extra in ("datasets", "torchvision", "fsspec", "aiohttp"):
        pytest.importorskip(extra)
    home = tmp_path_factory.mktemp("page")
    pack(home)
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": paths, "OPENJEPA_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(Path(__file__).parent / "support" / "page_commands.py")]
    asked = json.dumps([FIRST, *commands()])
    done = subprocess.run(script, input=asked, capture_output=True, text=True, env=environment, cwd=home, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads((home / "ended.json").read_text()), done.stdout + done.stderr


@pytest.mark.parametrize("command", commands())
def test_the_command_works(ended, command):
    codes, said = ended
    assert codes[command] == "0", said


def test_the_page_has_a_command_for_every_kind():
    kinds = (".txt", ".csv", ".parquet", ".zip", ".tar ", ".tar.gz", "}.tar", "https:", "s3:", "hf:", "hf-stream:")
    for kind in (*kinds, "torchvision:", "scenes:", "saved/", "table/", "*", "bands/", "grey/", "stacks/", "scans/"):
        assert any(kind in command for command in commands()), kind
