"""The export for sentence-transformers: its files, and what the library makes of it where it is installed."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from openjepa.encoder.baselines import seeded
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.files.marks import is_output_folder
from openjepa.interop.formats.registry import Options
from openjepa.interop.formats.sentence_transformers import reopen, write
from openjepa.interop.loaded_weights import Source

STD = [0.2, 0.25, 0.3]


def source_of(channels=3, values="uint8"):
    shape = {"embed_dim": 48, "depth": 1, "num_heads": 4, "in_chans": channels}
    network = seeded(0, image_size=(16, 16), patch_size=8, **shape)
    return Source("net", "openjepa", [0.5] * channels, STD[:channels], target=network, values=values)


def test_the_folder_is_that_of_transformers_with_the_modules(tmp_path):
    write(tmp_path, source_of(), Options())
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [(each["idx"], each["path"]) for each in modules] == [(0, ""), (1, "1_Pooling")]
    assert json.loads((tmp_path / "1_Pooling/config.json").read_text())["embedding_dimension"] == 48
    write_json(tmp_path / "comparison.json", {"images_of": "scenes:8"})
    assert is_output_folder(tmp_path)
    (tmp_path / "1_Pooling/notes.txt").write_text("mine")
    assert not is_output_folder(tmp_path)


def test_other_numbers_than_8_bits_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"reads 1 channel, 16 bits, and sentence-transformers reads 8-bit colour"):
        write(tmp_path, source_of(1, "unit"), Options())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [3, 1])
def test_the_library_opens_it_and_encodes_images_as_we_do(tmp_path, channels):
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    source = source_of(channels)
    write(tmp_path, source, Options())
    pixels = torch.randn(2, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(reopen(tmp_path, Options(), source)(pixels), source.target(pixels))
    rough = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
    mode = {3: "RGB", 1: "L"}[channels]
    images = [Image.fromarray(each).resize((40, 40), Image.Resampling.BICUBIC).convert(mode) for each in rough]
    theirs = library.SentenceTransformer(str(tmp_path), device="cpu").encode(images)
    ours = Encoder(source.target, source.mean, source.std).encode(images)
    cosines = (theirs * ours).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
    assert cosines.min() > 0.999
