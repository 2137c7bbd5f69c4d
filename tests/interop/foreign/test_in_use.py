"""Search, indexes, anomaly detectors and comparisons take models of timm and transformers, with their preprocessing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.foreign import timm_folder, transformers_folder

import openjepa
from openjepa.data.open import open_dataset
from openjepa.errors import UsageError
from openjepa.indexing.store import BASE, Store
from openjepa.interop.load import load_encoder

CHEAP = {"device": "cpu", "precision": "float32", "workers": 0}
WRITERS = {
    "vit_small_patch14_reg4_dinov2": timm_folder,
    "clip_vision_model": transformers_folder,
    "convnext": transformers_folder,
}


@pytest.fixture(scope="module", params=WRITERS)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / request.param
    WRITERS[request.param](folder, request.param)
    return folder


def test_an_index_has_the_vectors_of_the_model_and_is_searched(model, photos, tmp_path):
    out = openjepa.index(model, photos, out=tmp_path / "index", **CHEAP)
    rows = Store.open(out).read([*BASE, "vector"]).to_pylist()
    dataset = open_dataset(str(photos))
    vectors = load_encoder(model).embed([dataset.load(index) for index in range(len(dataset))])
    stored = {row["path"]: row["vector"] for row in rows}
    found = torch.tensor(np.array([stored[path] for path in dataset.paths], np.float32))
    cosines = torch.nn.functional.cosine_similarity(found, vectors)
    assert len(rows) == len(dataset) and float(cosines.min()) > 0.9999
    alike = torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(vectors[:1]).T
    results = openjepa.search(out, [str(photos / dataset.paths[0])], top=3, device="cpu")
    others = sorted(float(cosine) for cosine in alike[1:, 0])
    np.testing.assert_allclose([result["cosine"] for result in results], others[:-4:-1], atol=2e-3)


def test_a_detector_needs_patch_tokens(model, photos, tmp_path):
    if model.name == "convnext":
        with pytest.raises(UsageError, match="has no patch tokens, which anomalies are found by"):
            openjepa.anomaly_fit(model, photos, out=tmp_path / "detector", **CHEAP)
        return
    openjepa.anomaly_fit(model, photos, out=tmp_path / "detector", **CHEAP)
    scores = openjepa.anomaly_score(tmp_path / "detector", photos, out=tmp_path / "scores.csv", **CHEAP)
    assert len(scores.read_text().splitlines()) == 25


def test_a_comparison_measures_them_beside(photos, tmp_path):
    names = [str(tmp_path / name) for name in ("vit_small_patch14_reg4_dinov2", "convnext")]
    for name in names:
        WRITERS[Path(name).name](Path(name), Path(name).name)
    tiny = {"image_size": 16, "batch_size": 6, "methods": "vicreg", "budget": "images:6", "seeds": 1}
    study = openjepa.compare(photos, out=tmp_path / "study", beside=names, **tiny, **CHEAP)
    records = json.loads((study / "results.json").read_text())["records"]
    assert {"vicreg", *names} <= {record["model"] for record in records}
