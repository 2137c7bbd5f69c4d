"""The export for MLflow: what `predict` takes, and what the library makes of the folder where it is installed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.photos import draw_photos

from openjepa.encoder.baselines import seeded
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.files.marks import FOLDER_FILES
from openjepa.interop.formats.mlflow import Embedder, reopen, write
from openjepa.interop.formats.registry import Options
from openjepa.interop.loaded_weights import Source


@pytest.fixture(scope="module")
def source():
    network = seeded(0, image_size=(16, 16), patch_size=8, embed_dim=48, depth=1, num_heads=4)
    return Source("net", "openjepa", [0.5] * 3, [0.2, 0.25, 0.3], target=network)


@pytest.fixture(scope="module")
def encoder(source):
    return Encoder(source.target, source.mean, source.std)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return [str(path) for path in sorted(draw_photos(tmp_path_factory.mktemp("mlflow"), 3).rglob("*.jpg"))]


def given_in_many_ways(paths):
    pandas = pytest.importorskip("pandas")
    content = [Path(path).read_bytes() for path in paths]
    yield from (paths, tuple(paths), content, np.array(paths), np.array(content, dtype=object)[:, None])
    yield from (pandas.DataFrame({"image": paths}), pandas.DataFrame({"image": content}), pandas.Series(content))
    yield from ([Image.open(path) for path in paths], np.stack([np.asarray(Image.open(path)) for path in paths]))


def test_paths_bytes_and_images_are_taken_in_any_container(encoder, paths):
    wanted = encoder.encode(paths)
    for given in given_in_many_ways(paths):
        found = Embedder(encoder).predict(given)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    for one in (paths[0], Path(paths[0]).read_bytes(), Image.open(paths[0])):
        np.testing.assert_allclose(Embedder(encoder).predict(one, {}), wanted[:1], atol=1e-5)


def test_what_is_no_image_is_one_line(encoder, paths):
    pandas = pytest.importorskip("pandas")
    for given, said in (
        (pandas.DataFrame({"image": paths, "label": paths}), "a DataFrame of 2 columns: give one"),
        ([b"no image"], "cannot be read as an image"),
        ([paths[0] + ".gone"], "cannot be read"),
        ([], "no images given"),
        (5, "cannot read int as images"),
    ):
        with pytest.raises(UsageError, match=said):
            Embedder(encoder).predict(given)


def test_the_library_opens_the_folder_and_predicts(tmp_path, source, encoder, paths):
    pyfunc = pytest.importorskip("mlflow.pyfunc", reason="mlflow is not installed")
    write(tmp_path, source, Options())
    assert {path.name for path in tmp_path.iterdir()} <= FOLDER_FILES
    assert str(tmp_path) not in (tmp_path / "MLmodel").read_text()
    model = pyfunc.load_model(str(tmp_path))
    np.testing.assert_allclose(model.predict(paths), encoder.encode(paths), atol=1e-5)
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(reopen(tmp_path, Options(), source)(pixels), source.target(pixels))
    assert json.loads((tmp_path / "openjepa.json").read_text())["encoder"]["embed_dim"] == 48
