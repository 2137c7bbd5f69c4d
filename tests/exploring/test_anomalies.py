"""Odd images, energies and expectations over HTTP are those of the library, within bounds, and refused in words."""

import csv
import io
import time

import numpy as np
import pytest
import torch
from PIL import Image
from support.anomaly_parts import DEFECT, draw_parts, save_encoder
from support.explored import serving

import openjepa
from openjepa.errors import UsageError
from openjepa.exploring.anomalies import detection as detecting
from openjepa.exploring.anomalies import prediction
from openjepa.exploring.anomalies.images import ModelImages
from openjepa.exploring.anomalies.readings import ModelReadings, StoredReadings
from openjepa.exploring.collection import Collection
from openjepa.indexing.store import Outdated
from openjepa.runs.detectors import open_energies

NORMAL, ODD = 44, 4
COUNT = NORMAL + ODD
BOX = [8 / 32, 8 / 24, 24 / 32, 20 / 24]  # of 32 x 24 pixels: patches of 4 px, rows 2 to 4, columns 2 to 5
HIDDEN = [18, 19, 20, 21, 26, 27, 28, 29, 34, 35, 36, 37]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A model with a predictor, parts of which the last have a spot, and indexes with and without patch tokens."""
    home = tmp_path_factory.mktemp("parts")
    save_encoder(home / "model")
    draw_parts(home / "parts", COUNT, defects=ODD)
    for name, patches in (("patches", True), ("bare", False)):
        openjepa.index(home / "model", home / "parts", out=home / name, patches=patches, workers=0, device="cpu")
    return home


@pytest.fixture(scope="module")
def opened(parts):
    return openjepa.open_index(parts / "patches", device="cpu")


@pytest.fixture(scope="module")
def client(opened):
    with serving(opened) as client:
        yield client


def finished(client):
    for _ in range(600):
        found = client.get("/api/detector").json
        if found["state"] not in ("fitting", "scoring"):
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def fit(client, normals, **more):
    started = client.post("/api/detector", {"normals": normals, **more})
    assert started.status == 200, started.body
    return finished(client)


def places(index, names):
    return [index.place_of(f"{name:03}.png") for name in names]


@pytest.mark.parametrize("aligned", [False, True])
def test_a_detector_finds_what_is_odd_and_where(client, opened, aligned):
    found = fit(client, places(opened, range(NORMAL)), aligned=aligned)
    assert (found["state"], found["normals"], found["scored"]) == ("done", NORMAL, COUNT), found
    assert found["reads"] == "the patch tokens of the index" and "set aside" in found["how"]
    answer = client.get("/api/detector/scores")
    scores = np.frombuffer(answer.body, "<f4")
    odd = places(opened, range(NORMAL, COUNT))
    assert set(scores.argsort()[-ODD:]) == set(odd) and answer.headers["x-detector"] == str(found["number"])
    where = client.get(f"/api/images/{odd[0]}/odd").json
    assert (where["rows"], where["columns"], where["frame"]) == (6, 8, [0, 0, 1, 1])
    assert where["score"] == pytest.approx(scores[odd[0]], rel=1e-4)
    row, column = divmod(int(np.argmax(where["values"])), 8)
    assert DEFECT[0].start - 4 < 4 * row < DEFECT[0].stop and DEFECT[1].start - 4 < 4 * column < DEFECT[1].stop
    rows = [*csv.DictReader(io.StringIO(client.get("/api/detector/table").body.decode()))]
    names = ["memory", "density"] if aligned else ["memory"]
    assert [*rows[0]] == ["path", "score", "normal", *names] and len(rows) == COUNT
    assert {row["path"] for row in rows[:ODD]} == {f"{name:03}.png" for name in range(NORMAL, COUNT)}
    assert {row["normal"] for row in rows[:ODD]} == {""} and rows[-1]["normal"] == "yes"


def test_an_upload_is_judged_as_the_same_image_of_the_index(client, opened, parts):
    fit(client, places(opened, range(NORMAL)))
    place = opened.place_of("046.png")
    upload = client.post("/api/uploads", (parts / "parts/046.png").read_bytes()).json["upload"]
    one, other = (client.get(f"/api/{what}/odd").json for what in (f"images/{place}", f"uploads/{upload}"))
    assert one["values"] == pytest.approx(other["values"], abs=0.05) and one["score"] > 3
    assert client.get("/api/uploads/u99/odd").status == 404


def test_few_normals_are_scored_by_the_others_and_suspects_are_named(client, opened):
    found = fit(client, places(opened, range(5)))
    assert found["state"] == "done" and "each scored by the others" in found["how"]
    found = fit(client, places(opened, range(NORMAL - 3, NORMAL + 1)) + places(opened, range(NORMAL - 3)))
    assert [suspect["path"] for suspect in found["suspects"]] == [f"{NORMAL:03}.png"]


def test_what_a_detector_cannot_be_is_said(client, opened):
    assert client.ask("DELETE", "/api/detector").json["state"] == "none"
    for path in ("/api/detector/scores", "/api/detector/table", "/api/images/0/odd"):
        answer = client.get(path)
        assert answer.status == 404 and "POST /api/detector" in answer.json["error"]
    for body in ({"normals": [1]}, {"normals": [3, 3]}, {"normals": [0, COUNT]}, {"normals": [0, 1], "seed": 1}, {}):
        assert client.post("/api/detector", body).status == 400
    assert client.get("/api/detector").json["state"] == "none"
    assert client.ask("DELETE", "/api/detector", Authorization="").status == 401
    assert client.ask("DELETE", "/api/detector", Origin="http://elsewhere").status == 403


def test_a_detector_without_patch_tokens_reads_the_images(parts, opened, monkeypatch):
    monkeypatch.setattr(detecting, "MOST", 30)
    bare = openjepa.open_index(parts / "bare", device="cpu")
    images = ModelImages(bare)
    job = detecting.Detection(images, np.arange(NORMAL), False, 1)
    job._run()
    assert (job.state, job.what, len(job.normals), job.scored) == ("done", "the images", 30, COUNT), job.error
    assert set(job.scores[:, 0].argsort()[-ODD:]) == set(places(bare, range(NORMAL, COUNT)))
    gone = parts / "parts/003.png"
    gone.rename(parts / "gone.png")
    try:
        job = detecting.Detection(ModelImages(bare), np.arange(NORMAL), False, 1)
        job._run()
    finally:
        (parts / "gone.png").rename(gone)
    assert np.isnan(job.scores[bare.place_of("003.png"), 0]) and job.scored == COUNT - 1
    one = StoredReadings(opened).one(opened.place_of("001.png"))
    last = ModelReadings(images).one(bare.place_of("001.png"))[..., 32:64]  # of the last block
    assert torch.cosine_similarity(one[..., :32], last, dim=-1).min() > 0.99


def test_a_detector_stops_ends_in_time_and_fails_in_words(opened, monkeypatch, capsys):
    images = ModelImages(opened)
    job = detecting.Detection(images, np.arange(NORMAL), False, 1)
    job.stop()
    job._run()
    assert job.state == "stopped" and job.scored == 0
    monkeypatch.setattr(detecting, "AT_ONCE", 10)
    monkeypatch.setattr(detecting, "SECONDS", 100.0)
    clock = iter([0.0, *[1.0] * 3, *[200.0] * 9])
    monkeypatch.setattr(detecting, "monotonic", lambda: next(clock))
    job = detecting.Detection(images, np.arange(NORMAL), False, 1)
    job._run()
    assert job.state == "done" and job.late and job.scored == 10
    clock = iter([0.0, *[200.0] * 9])
    job = detecting.Detection(images, np.arange(NORMAL), False, 1)
    job._run()
    assert job.state == "failed" and job.error == "fitting took more than 100 seconds: choose fewer normal images"
    clock = iter([0.0] * 99)
    for problem, said in ((Outdated(), "start the server again"), (OSError("x"), "has printed why")):
        monkeypatch.setattr(detecting, "readings_of", lambda _, problem=problem: (_ for _ in ()).throw(problem))
        job = detecting.Detection(images, np.arange(NORMAL), False, 1)
        job._run()
        assert job.state == "failed" and said in job.error
    assert "OSError: x" in capsys.readouterr().err


def test_one_detector_is_made_at_a_time(opened, monkeypatch):
    collection = Collection(opened)
    monkeypatch.setattr(detecting.Detection, "start", lambda self: None)
    assert collection.detecting.fit(np.arange(4), False) is not None
    assert collection.detecting.fit(np.arange(4), False) is None
    collection.detecting.forget()
    assert collection.detecting.current is None and collection.detecting.fit(np.arange(4), True).number == 2


def test_the_energy_of_patches_is_that_of_the_library(client, opened, parts):
    energies = open_energies(str(parts / "model"))
    picture = parts / "parts/007.png"
    expected = energies.maps(energies.encoder.preprocess([Image.open(picture)]))[0]
    upload = client.post("/api/uploads", picture.read_bytes()).json["upload"]
    for path in (f"images/{opened.place_of('007.png')}", f"uploads/{upload}"):
        found = client.get(f"/api/{path}/energy").json
        assert (found["rows"], found["columns"]) == (6, 8)
        assert found["values"] == pytest.approx(expected.tolist(), rel=1e-4)


def test_what_is_expected_is_what_imagine_finds(client, opened, parts, tmp_path):
    picture = parts / "parts/007.png"
    given = {"box": (8, 8, 24, 20), "out": tmp_path / "p.html", "source": parts / "patches", "top": 3}
    records = openjepa.imagine(parts / "model", picture, **given, device="cpu", workers=0)
    place = opened.place_of("007.png")
    found = client.post("/api/expectation", {"image": place, "box": BOX, "top": 3}).json
    assert found["box"] == pytest.approx(BOX) and found["seen"] == 1 and len(found["patches"]) == len(HIDDEN)
    assert "12 patches hidden, 36 visible" in found["lines"][0]
    nearest = [r for r in records if r["draw"] == 0 and r["content"] == "nearest"]
    mine = [near for patch in found["patches"] for near in patch["nearest"]]
    assert [near["path"] for near in mine] == [r["path"] for r in nearest]
    assert [near["energy"] for near in mine] == pytest.approx([r["energy"] for r in nearest], rel=1e-3)
    assert [near["box"] for near in mine] == [
        pytest.approx([r["x0"] / 32, r["y0"] / 24, r["x1"] / 32, r["y1"] / 24]) for r in nearest
    ]
    assert opened.paths[mine[0]["id"]].as_py() == mine[0]["path"] != "007.png"
    means = {content["name"]: content["energy"] for content in found["contents"]}
    true = np.mean([r["energy"] for r in records if r["content"] == "true region"])
    assert means["true region"] == pytest.approx(true, rel=1e-3) and found["contents"][0]["ratio"] == pytest.approx(1)
    assert set(means) == {r["content"] for r in records} - {"nearest"}


def test_expectations_without_patch_tokens_read_some_images_within_some_time(parts, monkeypatch):
    collection = Collection(openjepa.open_index(parts / "bare", device="cpu"))
    monkeypatch.setattr(prediction, "MOST_READ", 9)
    found = collection.predicting.expected(0, tuple(BOX), 4)
    assert "of 9 of 48 images" in found.found.lines()[0] or "of 8 of 48 images" in found.found.lines()[0]
    assert all(len(row) == 4 and all(near.image != 0 for near in row) for row in found.near)
    monkeypatch.setattr(prediction, "SECONDS", -1.0)
    monkeypatch.setattr("openjepa.indexing.real_patches.BATCH", 4)
    assert collection.predicting.expected(0, tuple(BOX), 4).found.imagined.nearest.compared <= 4 * 48


def test_models_without_predictor_and_boxes_outside_are_refused_as_on_the_terminal(client, parts, tmp_path):
    for body, said in (
        ({"image": 0, "box": [0, 0, 1, 1]}, "visible"),
        ({"image": 0, "box": [0.5, 0.5, 0.4, 0.9]}, "left must be less"),
        ({"image": "u9", "box": BOX}, "no upload u9"),
        ({"image": 0, "box": BOX, "top": 99}, "top"),
    ):
        answer = client.post("/api/expectation", body)
        assert answer.status == 400 and said in answer.json["error"], answer.body
    pixels = openjepa.index("pixels", parts / "parts", out=tmp_path / "pixels", workers=0)
    collection = Collection(openjepa.open_index(pixels))
    with pytest.raises(UsageError, match="pixels has no predictor"):
        collection.predicting.energy(0)
    job = detecting.Detection(ModelImages(collection.index), np.arange(4), False, 1)
    job._run()
    assert job.state == "failed" and "has no patch tokens" in job.error
