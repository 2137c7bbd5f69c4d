"""The server of an index gives what the index itself gives."""

import csv
import io
import json
import re
import shutil
from datetime import timedelta
from itertools import pairwise
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support.explored import COUNT, serving

import openjepa
from openjepa.errors import UsageError
from openjepa.exploring import collection, originals
from openjepa.exploring.openapi import document
from openjepa.exploring.originals import Originals
from openjepa.exploring.route import Asked
from openjepa.exploring.routes import queries, views
from openjepa.exploring.routes.table import ROUTES
from openjepa.indexing.curation import duplicates as curating
from openjepa.indexing.store import Store


def test_the_index_its_map_and_columns(client, index):
    about = client.get("/api/index").json
    assert (about["images"], about["name"], about["patches"], about["map"]) == (COUNT + 1, "index", True, "pca")
    assert about["source"] == index.about.source and about["run"] is None and about["labels"] == index.labels
    types = {column["name"]: column["type"] for column in about["columns"]}
    assert types["kind"] == types["folder"] == types["cluster"] == "category" and types["path"] == "text"
    assert types["weight"] == types["width"] == types["outlier"] == "number" and types["captured"] == "time"
    points = client.get("/api/points")
    found = np.frombuffer(points.body, "<f4").reshape(-1, 2)
    assert (
        found.shape == (COUNT + 1, 2) and np.abs(found).max() == pytest.approx(1) and points.headers["x-map"] == "pca"
    )
    assert "50 images" in client.get("/api/points?map=umap").json["error"]
    kind = client.get("/api/columns/kind").json
    assert kind["categories"] == ["two", "one"] and kind["missing"] == COUNT - 2
    codes = np.frombuffer(client.get("/api/columns/kind/values").body, np.uint8)
    place = index.place_of("cat/000.jpg")
    assert codes[place] == 1 and (codes == 255).sum() == COUNT - 2
    weight = client.get("/api/columns/weight").json
    assert (weight["min"], weight["max"], weight["missing"]) == (1.5, 3, COUNT - 1)
    weights = np.frombuffer(client.get("/api/columns/weight/values").body, "<f4")
    assert weights[place] == 1.5 and np.isnan(weights).sum() == COUNT - 1
    ranks = np.frombuffer(client.get("/api/columns/path/values").body, "<f4")
    paths = index.paths.to_pylist()
    assert [paths[i] for i in ranks.argsort()] == sorted(paths)
    assert client.get("/api/columns/captured").json["missing"] == COUNT + 1
    assert "did you mean weight?" in client.get("/api/columns/weigth").json["error"]


def test_a_label_of_many_values_is_a_text_everywhere(index, monkeypatch):
    monkeypatch.setattr(collection, "NAMED", 1)  # kind has two values
    for unique, expected in ((0.1, "category"), (0, "text")):
        monkeypatch.setattr(collection, "UNIQUE", unique)
        shown = collection.Collection(index)
        types = {column.name: column.type for column in views.about(shown, Asked({})).columns}
        about = views.column(shown, Asked({"name": "kind"}))
        assert types["kind"] == about.type == expected and (about.categories is None) == (expected == "text")
        values = views.column_values(shown, Asked({"name": "kind"})).data
        assert len(values) == (COUNT + 1) * (4 if expected == "text" else 1)


def test_times_are_exact(index):
    times = ["2024-05-06 07:08:09", "2024-05-06 07:08:10", None]
    seconds = [1714979289.0, 1714979290.0, np.nan]
    values = pa.array(times).cast(pa.timestamp("s"))
    shown = Mock(index=Mock(values=lambda _: values), kinds=index.columns, columns=["captured"])
    asked = Asked({"name": "captured"})
    found = np.frombuffer(views.column_values(shown, asked).data, "<f8")
    assert np.array_equal(found, seconds, equal_nan=True)
    about = views.column(shown, asked)
    assert (about.min, about.max, about.missing) == (*seconds[:2], 1)


def test_images_thumbnails_and_facts(client, index, home):
    place = index.place_of("dog/copy.png")
    stored = Store.open(index.folder).read(["thumbnail"])["thumbnail"][place].as_py()
    found = client.get(f"/api/thumbnails/{place}?v={client.get('/api/index').json['opened']}")
    assert found.body == stored and found.headers["content-type"] == "image/webp"
    assert "immutable" in found.headers["cache-control"]
    assert client.get(f"/api/thumbnails/{place}").headers["cache-control"] == "no-store"
    image = client.get(f"/api/images/{place}")
    assert image.headers["content-type"] == "image/jpeg" and Image.open(io.BytesIO(image.body)).size == (40, 40)
    facts = client.get(f"/api/images/{place}/facts").json
    assert (facts["path"], facts["width"], facts["folder"]) == ("dog/copy.png", 40, "dog")
    assert facts["bytes"] == (home / "photos/dog/copy.png").stat().st_size and facts["labels"]["kind"] is None
    names = client.get(f"/api/names?ids={place},0").json["paths"]
    assert names == ["dog/copy.png", index.paths[0].as_py()]
    (home / "photos/dog/copy.png").rename(home / "gone.png")
    gone = client.get(f"/api/images/{place}")
    (home / "gone.png").rename(home / "photos/dog/copy.png")
    assert gone.status == 404 and "dog/copy.png is not in" in gone.json["error"]


def test_an_index_that_lies_leads_to_no_other_file_and_fetches_nothing(home, tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(originals, "open_dataset", lambda _: pytest.fail("it was opened"))
        for source in ("https://example.invalid/photos.zip", "hf:lab/photos", "s3://bucket/photos", "/nothing"):
            with pytest.raises(UsageError, match="is not on this machine"):
                Originals(source).load("cat/000.jpg", 64)
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    for path in ("../secret.png", str(tmp_path / "secret.png"), "a.png/../../secret.png", "", ".", "a\0b"):
        with pytest.raises(UsageError, match="is not in"):
            Originals(str(tmp_path / "photos")).load(path, 64)
    assert Originals(str(tmp_path / "photos")).load("a.png", 64).size == (9, 9)
    shutil.copytree(home / "index", tmp_path / "index")
    nothing = dict.fromkeys(("folder", "width", "brightness", "thumbnail", "captured", "bytes"), "NULL")
    Store.open(tmp_path / "index").table.update(values_sql=nothing)
    with serving(openjepa.open_index(tmp_path / "index")) as client:
        facts = client.get("/api/images/0/facts")
        assert facts.status == 200 and facts.json["width"] is None
        assert client.get("/api/thumbnails/0").status == 404 and client.get("/api/columns/folder").json["missing"] == 25
        assert client.get("/api/columns/brightness").json["min"] is None
        for path in ("/api/duplicates", "/api/images/0/similarity?x=0&y=0"):
            assert "is damaged" in client.get(path).json["error"]
        assert client.post("/api/search", {"image": 0}).status == 200


@pytest.mark.filterwarnings("ignore:optimize")
def test_an_index_that_was_brought_up_to_date_long_after_it_was_opened_is_not_called_damaged(home, tmp_path):
    shutil.copytree(home / "index", tmp_path / "index")
    with serving(opened := openjepa.open_index(tmp_path / "index")) as client:
        other = Store.open(tmp_path / "index").table
        other.update(values_sql={"width": "width + 1"})
        assert client.get("/api/images/0/facts").status == 200  # the version that is open is kept for a day
        other.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        gone = client.get("/api/images/0/facts")
        assert gone.status == 503 and "brought up to date since it was opened: start the server" in gone.json["error"]
        with pytest.raises(UsageError, match="index was brought up to date since it was opened: open it again"):
            opened.rows_at([3], ["path", "thumbnail"])
        assert openjepa.open_index(tmp_path / "index").rows_at([3], ["path"]).num_rows == 1


def test_searches_are_those_of_the_index(client, index, home):
    place = index.place_of("cat/004.jpg")
    expected = index.search("cat/004.jpg", top=7, where="class = 'cat'")
    found = client.post("/api/search", {"image": place, "top": 7, "where": "class = 'cat'"}).json["results"]
    assert [each["path"] for each in found] == expected["path"].to_pylist()
    assert [each["cosine"] for each in found] == pytest.approx(expected["cosine"].to_pylist())
    assert [each["percentile"] for each in found] == pytest.approx(expected["percentile"].to_pylist())
    assert [index.paths[each["id"]].as_py() for each in found] == expected["path"].to_pylist()
    expected = index.search(like=["cat/004.jpg"], unlike=["dog/001.jpg"], top=5)
    like, unlike = [place], [index.place_of("dog/001.jpg")]
    found = client.post("/api/search", {"like": like, "unlike": unlike, "top": 5}).json["results"]
    assert [each["score"] for each in found] == pytest.approx(expected["score"].to_pylist())
    expected = index.search("cat/004.jpg", box=(5, 5, 15, 15), top=5).to_pylist()
    found = client.post("/api/search", {"image": place, "box": [0.25, 0.25, 0.75, 0.75], "top": 5}).json["results"]
    sides = ("x0", "width"), ("y0", "height"), ("x1", "width"), ("y1", "height")
    boxes = [(row["path"], [row[side] / row[size] for side, size in sides]) for row in expected]
    assert [(each["path"], each["box"]) for each in found] == boxes
    mask = np.frombuffer(client.post("/api/where", {"where": "class = 'cat'"}).body, np.uint8)
    assert mask.tolist() == index.rows_where("class = 'cat'").astype(int).tolist()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"image": 0, "box": [0.5, 0, 0.2, 1]}, "box: left must be less than right"),
        ({"image": 0, "like": [1], "box": [0, 0, 1, 1]}, "box is a part of one image: give that image, without like"),
        ({}, "nothing to search for: give an image, or some with like"),
        ({"image": -1}, "image is -1 ("),
        ({"like": [0, "x"]}, "like.1 is x ("),
        ({"image": 0, "where": "widht > 1"}, "where: column widht is not known"),
        ({"image": 0, "where": f"{'w' * 999} > 1"}, f"where: column {'w' * 57}... is not known"),
        ({"image": 0, "where": f"captured > '{'9' * 999}'"}, f"where: '{'9' * 57}...' is not a time"),
    ],
)
def test_what_cannot_be_searched_is_said_in_the_words_of_the_api(client, body, said):
    found = client.post("/api/search", body)
    assert found.status == 400 and said in found.json["error"] and "--" not in found.json["error"]
    assert "constrained" not in found.json["error"] and len(found.json["error"]) < 400


def test_a_box_that_the_model_does_not_see_is_refused_in_fractions():
    frame = Mock(box=lambda *_: (50, 0, 150, 100))
    shown = Mock(index=Mock(regions=Mock(grid=Mock(frame=frame))))
    with pytest.raises(UsageError, match=r"what the model sees of the image, 0.25, 0, 0.75, 1: give"):
        queries._box(shown, (0, 0, 0.2, 1), (200, 100))
    assert queries._box(shown, (0, 0, 0.5, 1), (200, 100)) == (0, 0, 100, 100)


def test_an_image_that_was_sent(client, index, home):
    data = (home / "photos/cat/006.jpg").read_bytes()
    sent = client.post("/api/uploads", data).json
    assert (sent["width"], sent["height"]) == (20, 20)
    shown = client.get(f"/api/uploads/{sent['upload']}")
    assert Image.open(io.BytesIO(shown.body)).size == (20, 20)
    first, *others = client.post("/api/search", {"image": sent["upload"], "top": 6}).json["results"]
    assert first["path"] == "cat/006.jpg" and first["cosine"] == pytest.approx(1, abs=1e-3)
    assert [each["path"] for each in others] == index.search("cat/006.jpg", top=5)["path"].to_pylist()
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(stream, "PNG")  # unknown to the index, so that its model is asked
    other = client.post("/api/uploads", stream.getvalue()).json["upload"]
    expected = index.search(Image.new("RGB", (30, 20), "red"), top=3)["path"].to_pylist()
    found = client.post("/api/search", {"image": other, "top": 3}).json["results"]
    assert [each["path"] for each in found] == expected
    grid = client.get(f"/api/uploads/{other}/similarity?x=0.5&y=0.5").json
    assert (grid["rows"], grid["columns"]) == (4, 4) and grid["frame"] == pytest.approx([1 / 6, 0, 5 / 6, 1])
    vector = np.frombuffer(client.post("/api/embedding", stream.getvalue()).body, "<f4")
    assert vector == pytest.approx(index.model.encode(Image.new("RGB", (30, 20), "red")), abs=1e-5)
    known = np.frombuffer(client.post("/api/embedding", data).body, "<f4")
    assert known == pytest.approx(index.model.encode(Image.open(io.BytesIO(data))), abs=1e-2)
    for path in ("/api/uploads", "/api/embedding"):
        assert "cannot be read as an image" in client.post(path, b"no image").json["error"]
    assert client.post("/api/uploads", b"").status == 400
    for _ in range(16):
        client.post("/api/uploads", data)
    assert client.get(f"/api/uploads/{sent['upload']}").status == 404


def test_patches_similar_to_one(client, index):
    place = index.place_of("cat/004.jpg")
    found = client.get(f"/api/images/{place}/similarity?x=0.99&y=0.01").json
    tokens = index.regions.whitened(index.regions.stored(np.array([place])))[0]
    assert found["values"] == pytest.approx((tokens @ tokens[3]).tolist(), abs=1e-5) and found["values"][3] > 0.999
    assert client.get(f"/api/images/{place}/similarity?x=2&y=0").status == 400


def test_curation_is_that_of_the_index(client, index, monkeypatch):
    for name, few in (("ORIENTATIONS", 1), ("WINDOWS", ())):  # what is found is tested elsewhere
        monkeypatch.setattr(curating, name, few)
    groups = client.get("/api/duplicates").json
    expected = client.server.collection.slow["duplicates"].get().to_pylist()
    assert ("dog/copy.png", "keep") in {(row["path"], row["kind"]) for row in expected}
    assert groups["total"] == max(row["group"] for row in expected) == len(groups["groups"])
    found = [(each["path"], each["kind"]) for group in groups["groups"] for each in group["images"]]
    assert found == [(row["path"], row["kind"]) for row in expected]
    kept = [index.paths[group["keep"]].as_py() for group in groups["groups"]]
    assert kept == [row["path"] for row in expected if row["kind"] == "keep"]
    odd = client.get("/api/outliers?top=5").json["images"]
    rows = index.outliers(top=5).to_pylist()
    assert [(each["path"], each["score"]) for each in odd] == [
        (row["path"], pytest.approx(row["score"])) for row in rows
    ]
    assert [index.paths[place].as_py() for place in odd[0]["neighbours"]] == rows[0]["neighbours"]
    clusters = client.get("/api/clusters").json["clusters"]
    table = index.clusters().to_pylist()
    for each in clusters:
        mine = [row for row in table if row["cluster"] == each["cluster"]]
        assert each["size"] == mine[0]["size"] == len(mine) and each["nearest"] == mine[0]["nearest"]
        assert [index.paths[place].as_py() for place in each["typical"]] == [row["path"] for row in mine[:12]]
    codes = np.frombuffer(client.get("/api/columns/cluster/values").body, np.uint8)
    assert np.bincount(codes).tolist() == [each["size"] for each in clusters]
    scores = np.frombuffer(client.get("/api/columns/outlier/values").body, "<f4")
    assert scores.max() == pytest.approx(rows[0]["score"])


def test_labels_by_example_rank_what_is_like_the_examples(client, index):
    paths = index.paths.to_pylist()
    cats, dogs = ([i for i, path in enumerate(paths) if path.startswith(name)] for name in ("cat", "dog"))
    scores = np.frombuffer(client.post("/api/examples", {"yes": cats[:6], "no": dogs[:6]}).body, "<f4")
    assert len(scores) == COUNT + 1 and 0 <= scores.min() < scores.max() <= 1
    assert scores[cats[:6]].min() > 0.5 > scores[dogs[:6]].max()
    alone = np.frombuffer(client.post("/api/examples", {"yes": cats[:1]}).body, "<f4")
    assert alone[cats[0]] > 0.5 and alone[cats].mean() > alone[dogs].mean()
    assert "in yes and in no" in client.post("/api/examples", {"yes": [1], "no": [1]}).json["error"]


def test_lists_of_images(client, index):
    found = client.post("/api/export", {"ids": [1, 0], "name": "=cat"})
    assert list(csv.reader(io.StringIO(found.body.decode()))) == [
        ["path", "label"],
        *([index.paths[place].as_py(), "'=cat"] for place in (1, 0)),
    ]
    assert found.headers["content-disposition"] == 'attachment; filename="images.csv"'
    paths = client.post("/api/export", {"ids": [1, 0], "format": "paths"}).body.decode().splitlines()
    assert paths == [index.paths[1].as_py(), index.paths[0].as_py()]
    assert client.post("/api/export", {"ids": [COUNT + 1]}).status == 400


def test_the_document_names_every_route_and_fits_the_answers(client):
    found = client.get("/api/openapi.json").json
    assert found == json.loads(json.dumps(document())) and found["openapi"] == "3.1.0"
    assert {(path, method.upper()) for path, methods in found["paths"].items() for method in methods} == {
        (route.path, route.method) for route in ROUTES
    }
    text = json.dumps(found)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in found["components"]["schemas"]
    for route in ROUTES:
        if (
            route.method == "GET"
            and not isinstance(route.gives, tuple)
            and "{" not in route.path
            and route.query is None
        ):
            schema = found["components"]["schemas"][route.gives.__name__]
            assert client.get(route.path).json.keys() == schema["properties"].keys()


def test_the_document_says_what_else_is_answered(client):
    paths = client.get("/api/openapi.json").json["paths"]
    described = paths["/api/export"]["post"]["responses"]
    for form in ("csv", "paths"):
        media = client.post("/api/export", {"ids": [0], "format": form}).headers["content-type"]
        assert media in described["200"]["content"]
    assert str(client.get("/api/export").status) in described and {"500", "503"} <= described.keys()
    assert [each["name"] for each in paths["/api/thumbnails/{id}"]["get"]["parameters"]] == ["id", "v"]


def test_the_routes_are_in_the_order_of_their_paths_first_parts():
    paths = [route.path for route in ROUTES]
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert not any(later.startswith(first + "{") for first, later in pairwise(paths))
