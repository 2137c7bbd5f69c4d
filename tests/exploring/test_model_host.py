"""A server of a model alone gives embeddings of images that are sent, and nothing of an index."""

import base64

import numpy as np
import pytest
import torch
from PIL import Image
from support.explored import TOKEN, serving

import openjepa
from openjepa.encoder.encode import encoded
from openjepa.errors import UsageError
from openjepa.exploring.collection import Collection
from openjepa.exploring.openapi import document
from openjepa.exploring.route import Asked
from openjepa.exploring.routes import embeddings
from openjepa.exploring.routes.embeddings import SimilarityBody
from openjepa.exploring.serving import Server
from openjepa.runs.checkpoints import open_model_at

NAME = "untrained:vit_nano_patch8_32"


@pytest.fixture(scope="module")
def model():
    return open_model_at(NAME, None, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def asked(model):
    with serving(model, page=False) as client:
        yield client


def files(home, count=3):
    return [path.read_bytes() for path in sorted((home / "photos/cat").iterdir())[:count]]


def base64s(home, count=3):
    return [base64.b64encode(data).decode() for data in files(home, count)]


def test_vectors_and_cosines_are_those_of_the_model(asked, model, home):
    paths = sorted((home / "photos/cat").iterdir())[:3]
    expected = encoded(model, [Image.open(path) for path in paths])
    about = asked.get("/api/model").json
    assert about == {"model": NAME, "dimensions": expected.shape[1], "image_size": [32, 32]}
    one = asked.post("/api/embedding", files(home, 1)[0])
    assert np.frombuffer(one.body, "<f4") == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
    several = asked.post("/api/embed", {"images": base64s(home)}).json["embeddings"]
    assert np.array(several) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    found = asked.post("/api/similarity", {"images": base64s(home)}).json["cosines"]
    assert np.array(found) == pytest.approx(unit @ unit.T, abs=1e-5)
    other = asked.post("/api/similarity", {"images": base64s(home, 1), "others": base64s(home)}).json["cosines"]
    assert np.array(other) == pytest.approx((unit @ unit.T)[:1], abs=1e-5)


def test_what_it_cannot_read_is_refused_with_the_place_of_it(asked, home):
    good = base64s(home, 1)
    for body, said in (
        ({"images": [*good, "no base64!"]}, "images[1] is not Base64"),
        ({"images": good, "others": [base64.b64encode(b"no image").decode()]}, "others[0]: this cannot be read"),
        ({"images": []}, "images"),
        ({"images": good * 65}, "images"),
        ({"images": good, "top": 3}, "top"),
    ):
        answer = asked.post("/api/similarity", body)
        assert answer.status == 400 and said in answer.json["error"], answer.body
    assert asked.post("/api/embedding", b"").status == 400
    assert asked.post("/api/embed", b"x" * (2**24 + 1)).status == 413
    assert asked.post("/api/embed", {"images": good}, Authorization="").status == 401
    for path in ("/", "/api/index", "/api/images/0", "/api/detector", "/static/app.js"):
        assert asked.get(path).status == 404
    paths = asked.get("/api/openapi.json").json["paths"]
    assert set(paths) == {"/api/model", "/api/embed", "/api/embedding", "/api/similarity"} < set(document()["paths"])


def test_an_index_compares_them_as_a_search_does(index, home):
    collection = Collection(index)
    found = embeddings.similarity(collection, Asked({}, None, SimilarityBody(images=base64s(home)))).cosines
    vectors = index.vectors.unit(torch.from_numpy(encoded(index.model, [Image.open(p) for p in _first(home)])).float())
    assert np.array(found) == pytest.approx((vectors @ vectors.T).numpy(), abs=1e-4)
    assert embeddings.model(collection, Asked({})).dimensions == index.about.dimensions


def _first(home):
    return sorted((home / "photos/cat").iterdir())[:3]


def test_the_command_takes_an_index_or_a_model(home, monkeypatch, capsys):
    served = []
    monkeypatch.setattr(Server, "run", lambda self: served.append(self))
    openjepa.serve(NAME, port=0, token=TOKEN, device="cpu")
    openjepa.serve(home / "index", port=0, token=TOKEN, device="cpu")
    said = capsys.readouterr().out
    assert f"{NAME} at http://127.0.0.1:" in said and "25 images of" in said
    assert [type(server.collection).__name__ for server in served] == ["ModelHost", "Collection"]
    for given, words in (({"model": "pixels"}, "--model is for an index"), ({"step": 3}, "needs the folder of a run")):
        with pytest.raises(UsageError, match=words):
            openjepa.serve(NAME, port=0, **given)
    with pytest.raises(UsageError, match="an index is of one step"):
        openjepa.serve(home / "index", port=0, step=3)
    with pytest.raises(UsageError):
        openjepa.serve(str(home / "nothing"), port=0)
