"""Search compares every image, ranks by the cosine, and refuses in words."""

import csv
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from support.html_checks import check_stands_alone
from support.photos import draw_photos
from support.sheets import sheet_values

import openjepa
from openjepa.encoder import whitening
from openjepa.errors import UsageError
from openjepa.indexing import open as opening
from openjepa.indexing import vectors as vectors_module
from openjepa.indexing.store import KEY, Store, lancedb


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("search")
    draw_photos(home / "photos", 40)
    openjepa.index("pixels", home / "photos", out=home / "index", workers=0)
    return home


@pytest.fixture
def index(folder):
    return openjepa.open_index(folder / "index")


def units(index):
    rows = Store.open(index.folder).read(["path", "vector"]).to_pylist()
    return {row["path"]: torch.nn.functional.normalize(torch.tensor(row["vector"]), dim=0) for row in rows}


def test_results_are_those_of_brute_force(index, monkeypatch):
    monkeypatch.setattr(vectors_module, "BLOCK", 3 * 3072 * 3)  # blocks of nine images
    unit, query = units(index), "cat/004.jpg"
    cosines = {path: float(unit[query] @ other) for path, other in unit.items() if path != query}
    found = index.search(query, top=7)
    assert found["path"].to_pylist() == sorted(cosines, key=lambda path: -cosines[path])[:7]
    assert found["cosine"].to_pylist() == pytest.approx(sorted(cosines.values(), reverse=True)[:7], abs=1e-5)
    matrix = torch.stack([*unit.values()])
    pairs = (matrix @ matrix.T).numpy()[np.triu_indices(40, 1)]
    expected = [100 * (pairs < cosine - 1e-6).mean() for cosine in found["cosine"].to_pylist()]
    assert found["percentile"].to_pylist() == pytest.approx(expected, abs=0.3)
    assert index.search(query, top=99)["path"].to_pylist() == sorted(cosines, key=lambda path: -cosines[path])
    monkeypatch.setattr(vectors_module, "CACHED", 0)
    assert openjepa.open_index(index.folder).search(query, top=7).equals(found)  # read from the table for each query


def test_vectors_of_enough_images_are_whitened_and_copies_are_not(folder, tmp_path, monkeypatch):
    openjepa.index("untrained:vit_nano", folder / "photos", out=tmp_path / "index", workers=0)
    plain = units(openjepa.open_index(tmp_path / "index"))
    monkeypatch.setattr(whitening, "LEAST_IMAGES", 40)
    monkeypatch.setattr(vectors_module, "BLOCK", 128 * 9)
    index = openjepa.open_index(tmp_path / "index")
    rows = Store.open(index.folder).read(["path", "vector"]).to_pylist()
    vectors = torch.tensor([row["vector"] for row in rows])
    whitened = torch.nn.functional.normalize(whitening.Whitening.fit(vectors)(vectors))
    cosines = dict(zip(plain, (whitened @ whitened[[*plain].index("cat/004.jpg")]).tolist(), strict=True))
    del cosines["cat/004.jpg"]
    found = index.search("cat/004.jpg", top=39)
    assert found["path"].to_pylist() == sorted(cosines, key=lambda path: -cosines[path])
    assert found["cosine"].to_pylist() == pytest.approx(sorted(cosines.values(), reverse=True), abs=1e-5)
    given = Image.open(folder / "photos" / "cat" / "004.jpg")  # not known to be an image of the index
    assert index.search(given, top=40)["path"].to_pylist() == ["cat/004.jpg", *found["path"].to_pylist()]
    assert torch.allclose(index.plain_vectors.at([3])[0], [*plain.values()][3])


def test_several_images_to_be_like_and_unlike(index):
    unit, like, unlike = units(index), ["cat/004.jpg", "cat/006.jpg"], ["dog/001.jpg", "dog/003.jpg"]
    found = index.search(like[0], like=like[1:], unlike=unlike, where="class = 'cat'", top=50)

    def score(path):
        to = [[float(unit[path] @ unit[one]) for one in each] for each in (like, unlike)]
        return np.mean(to[0]) - np.mean(to[1])

    paths = [path for path in unit if path.startswith("cat/") and path not in like]
    assert found["path"].to_pylist() == sorted(paths, key=lambda path: -score(path))
    assert found["score"].to_pylist() == pytest.approx([score(path) for path in found["path"].to_pylist()], abs=1e-5)


def test_an_image_may_lie_anywhere(index, folder, tmp_path):
    own = index.search(folder / "photos" / "cat" / "000.jpg", top=3)  # a file of the index is not its own result
    assert own.equals(index.search("cat/000.jpg", top=3)) and "cat/000.jpg" not in own["path"].to_pylist()
    copy = shutil.copy(folder / "photos" / "cat" / "000.jpg", tmp_path / "copy.jpg")
    assert index.search(copy, top=1)["path"].to_pylist() == ["cat/000.jpg"]
    image = Image.open(folder / "photos" / "cat" / "000.jpg")
    found = [index.search(each, top=3) for each in (image, np.asarray(image))]
    assert found[0].equals(found[1]) and found[0]["cosine"][0].as_py() == pytest.approx(1, abs=1e-4)
    image.resize((30, 30)).save(tmp_path / "new.png")
    assert index.search(tmp_path / "new.png", top=1)["path"].to_pylist() == ["cat/000.jpg"]


def test_what_cannot_be_searched_is_refused(index, folder, tmp_path):
    (tmp_path / "no.jpg").write_text("text")
    for given, said in (
        ({"image": tmp_path / "no.jpg"}, "cannot be read as an image"),
        ({"image": "cat/0000.jpg"}, r"cat/0000.jpg is not a file, and is none of the 40 images .*did you mean"),
        ({"image": "cat/000.jpg", "top": 0}, "--top 0 is not possible"),
        ({}, "nothing to search for"),
        ({"image": "cat/000.jpg", "where": "klass = 'cat'"}, r"column klass is not known.*did you mean class"),
    ):
        with pytest.raises(UsageError, match=said):
            index.search(**given)
    with pytest.raises(UsageError, match="is not an index: make one"):
        openjepa.open_index(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    other = openjepa.open_index(folder / "index", model="untrained:vit_nano")
    Image.new("RGB", (9, 9)).save(tmp_path / "other.png")
    with pytest.raises(UsageError, match="was made with another model, pixels: give that one"):
        other.search(tmp_path / "other.png")


@pytest.mark.parametrize("name", ["timm:resnet18.a1_in1k", "vit_tiny_patch16_224", "hf:evil/x", "http://evil.test/x"])
def test_a_model_that_an_index_names_is_not_fetched(folder, tmp_path, monkeypatch, name):
    table = Store.open(folder / "index").table.to_arrow()
    about = json.loads(table.schema.metadata[KEY]) | {"model": name}
    lying = lancedb().connect(str(tmp_path / "index"))
    lying.create_table("images", table.replace_schema_metadata({KEY: json.dumps(about)}))
    monkeypatch.setattr(opening, "opened_model", lambda *given: pytest.fail("opened"))
    Image.new("RGB", (9, 9)).save(tmp_path / "other.png")
    with pytest.raises(UsageError, match="which is not a folder here: name it with --model"):
        openjepa.open_index(tmp_path / "index").search(tmp_path / "other.png")


def test_an_image_without_a_path_is_refused(folder, tmp_path):
    table = Store.open(folder / "index").table.to_arrow()
    paths = pa.array([None, *table["path"].to_pylist()[1:]], pa.string())
    lancedb().connect(str(tmp_path / "index")).create_table("images", table.set_column(0, "path", paths))
    with pytest.raises(UsageError, match="is damaged: path is missing of 1 image"):
        openjepa.open_index(tmp_path / "index").search("cat/000.jpg")


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 253_402_300_800])
def test_a_time_that_is_no_date_is_refused(folder, tmp_path, seconds):
    table = Store.open(folder / "index").table.to_arrow()
    times = pa.array([seconds] * len(table), pa.int64()).cast(table["captured"].type)
    lying = table.set_column(table.schema.get_field_index("captured"), table.schema.field("captured"), times)
    lancedb().connect(str(tmp_path / "index")).create_table("images", lying)
    with pytest.raises(UsageError, match="is damaged: an image was captured in no year of 1 to 9999"):
        openjepa.search(str(tmp_path / "index"), ["cat/000.jpg"])


@pytest.mark.parametrize("name", ["vector", "contrast"])
def test_numbers_that_are_not_finite_are_refused(folder, tmp_path, name):
    table = Store.open(folder / "index").table.to_arrow()
    rows = table[name].to_pylist()
    rows[1] = [float("inf")] * len(rows[1]) if name == "vector" else float("nan")
    lying = table.set_column(
        table.schema.get_field_index(name), table.schema.field(name), pa.array(rows, table[name].type)
    )
    lancedb().connect(str(tmp_path / "index")).create_table("images", lying)
    with pytest.raises(UsageError, match=f"is damaged: {name} of an image is not finite"):
        openjepa.open_index(tmp_path / "index").search("cat/000.jpg", top=40)


def test_a_label_without_a_number_is_null_in_json(photos, tmp_path):
    (tmp_path / "labels.csv").write_text("path,weight\ncat/000.jpg,1.5\ncat/002.jpg,nan\n")
    openjepa.index("pixels", photos, out=tmp_path / "index", labels=tmp_path / "labels.csv", workers=0)
    openjepa.search(tmp_path / "index", ["cat/000.jpg"], json=tmp_path / "found.json")
    assert "NaN" not in (tmp_path / "found.json").read_text()


def test_the_command_writes_a_page_a_table_and_json(folder, tmp_path, capsys):
    outputs = {name: tmp_path / f"found.{name}" for name in ("html", "csv", "xlsx", "json")}
    where = "path != '<b>' and class = 'cat'"
    for _ in range(2):  # its own outputs are replaced
        rows = openjepa.search(folder / "index", ["cat/000.jpg", "dog/001.jpg"], where=where, top=5, **outputs)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5] * 2 and {row["class"] for row in rows} == {"cat"}
    assert json.loads(outputs["json"].read_text()) == rows
    table = list(csv.DictReader(outputs["csv"].open()))
    assert [row["path"] for row in table] == [row["path"] for row in rows]
    head, *cells = sheet_values(outputs["xlsx"])
    assert head == [*table[0]] and [row[:4] for row in cells] == [[*row.values()][:4] for row in rows]
    page = check_stands_alone(outputs["html"].read_text())
    pictures = [about["title"] for name, about in page.seen if name == "img"]
    assert pictures == ["cat/000.jpg", *(r["path"] for r in rows[:5]), "dog/001.jpg", *(r["path"] for r in rows[5:])]
    assert "<b>" not in outputs["html"].read_text().split("</style>")[1].split("<h2>")[0]
    assert "percentile" in capsys.readouterr().out
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(UsageError, match="is not an output of openjepa"):
        openjepa.search(folder / "index", ["cat/000.jpg"], csv=tmp_path / "mine.csv")
    with pytest.raises(UsageError, match=r"--xlsx .*mine\.csv is not possible: give a name that ends in \.xlsx"):
        openjepa.search(folder / "index", ["cat/000.jpg"], xlsx=tmp_path / "mine.csv")
    with pytest.raises(UsageError, match=r"ends in \.html"):
        openjepa.search(folder / "index", ["cat/000.jpg"], html=tmp_path / "mine.csv")


def test_images_are_searched_without_an_index(folder, capsys):
    rows = openjepa.search("pixels", ["cat/000.jpg"], data=folder / "photos", workers=0, top=3)
    assert "40 added" in capsys.readouterr().out
    assert openjepa.search("pixels", ["cat/000.jpg"], data=folder / "photos", workers=0, top=3) == rows
    assert "0 added, 0 changed, 0 removed, 40 unchanged" in capsys.readouterr().out
    assert rows == openjepa.search(folder / "index", ["cat/000.jpg"], top=3)
