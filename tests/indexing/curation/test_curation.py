"""Outliers, clusters, samples and spread labels of collections whose answers are known."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.sheets import sheet_values

import openjepa
from openjepa.errors import UsageError
from openjepa.indexing.curation.placing import planned

HUES = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Twenty noisy pictures of each of three colours, and two odd ones."""
    home, dice = tmp_path_factory.mktemp("curation"), np.random.default_rng(0)
    for name, colour in HUES.items():
        (home / "photos" / name).mkdir(parents=True)
        for number in range(20):
            noisy = (np.array(colour) + dice.normal(0, 25, (24, 24, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(home / "photos" / name / f"{number:02}.png")
    for number in (0, 12):
        stripes = np.zeros((24, 24, 3), np.uint8)
        stripes[number : number + 12] = 255
        Image.fromarray(stripes).save(home / "photos" / "red" / f"odd{number}.png")
    openjepa.index("pixels", home / "photos", out=home / "index", workers=0)
    return openjepa.open_index(home / "index")


def test_outliers_come_first_with_their_neighbours(index):
    rows = index.outliers(top=5).to_pylist()
    assert {row["path"] for row in rows[:2]} == {"red/odd0.png", "red/odd12.png"}
    assert rows[1]["score"] > 3 > 2 > rows[2]["score"] and len(rows) == 5
    nearest = index.search(rows[0]["path"], top=5)["path"].to_pylist()
    assert rows[0]["neighbours"] == nearest


def test_clusters_are_the_colours(index):
    rows = index.clusters(count=3).to_pylist()
    assert len(rows) == len(index)
    members = {
        n: {row["path"].split("/")[0] for row in rows if row["cluster"] == n and "odd" not in row["path"]}
        for n in (1, 2, 3)
    }
    assert sorted(map(sorted, members.values())) == [["blue"], ["green"], ["red"]]
    sizes = [next(row["size"] for row in rows if row["cluster"] == n) for n in (1, 2, 3)]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == len(index)
    of_first = [row["cosine"] for row in rows if row["cluster"] == 1]
    assert of_first == sorted(of_first, reverse=True)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**80])
def test_any_whole_number_is_a_seed(index, seed):
    assert len(index.clusters(count=3, seed=seed)) == len(index)
    assert len(index.sample(3, by="typical", seed=seed)) == 3
    assert len(index.spread_labels({"red/00.png": "red", "blue/00.png": "blue"}, seed=seed)) == len(index)


def test_samples_cover_the_collection(index):
    diverse = index.sample(5, by="diverse").to_pylist()
    assert {"red/odd0.png", "red/odd12.png"} < {row["path"] for row in diverse}
    cosines = [row["cosine"] for row in diverse[1:]]
    assert cosines == sorted(cosines) and diverse[0]["cosine"] is None
    typical = index.sample(3, by="typical")["path"].to_pylist()
    assert len({path.split("/")[0] for path in typical}) == 3 and not any("odd" in path for path in typical)
    everything = [index.sample(len(index), by=by)["path"].to_pylist() for by in ("diverse", "typical")]
    assert all(sorted(paths) == sorted(index.paths.to_pylist()) for paths in everything)
    with pytest.raises(UsageError, match="--n 63 is not possible"):
        index.sample(63)
    with pytest.raises(UsageError, match="--by odd is not known: known are diverse, typical"):
        index.sample(3, by="odd")


def test_a_few_labels_become_many(index, tmp_path, capsys):
    given = [f"{name}/{number:02}.png" for name in HUES for number in range(6)]
    lines = [f"{path},{path.split('/')[0]}\n" for path in given if path != "red/03.png"]
    (tmp_path / "labels.csv").write_text("path,colour\n" + "".join(lines) + "red/03.png,blue\n")
    table = openjepa.curate_labels(index.folder, tmp_path / "labels.csv", out=tmp_path / "spread.parquet")
    assert pq.read_table(tmp_path / "spread.parquet").to_pylist() == table.to_pylist()
    rows = table.to_pylist()
    fresh = [row for row in rows if row["given"] is None]
    assert all(row["label"] == row["path"].split("/")[0] for row in fresh if "odd" not in row["path"])
    assert len(fresh) == len(index) - 18 and [row["confidence"] for row in fresh] == sorted(
        r["confidence"] for r in fresh
    )
    assert [row["path"] for row in rows if row["disagrees"]] == ["red/03.png"]  # the wrong label
    assert "held-out labels: 94.4% right" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"column kind is not known: known are colour"):
        openjepa.curate_labels(index.folder, tmp_path / "labels.csv", column="kind")
    (tmp_path / "one.csv").write_text("path,colour\nred/00.png,red\n")
    with pytest.raises(UsageError, match="name 1 classes"):
        openjepa.curate_labels(index.folder, tmp_path / "one.csv")


def test_commands_write_tables_and_link_by_cluster(index, tmp_path, capsys):
    for _ in range(2):  # its own output is replaced
        openjepa.curate_outliers(index.folder, top=3, out=tmp_path / "odd.csv")
    rows = list(csv.DictReader((tmp_path / "odd.csv").open()))
    assert len(rows) == 3 and rows[0]["neighbours"].count("|") == 4
    openjepa.curate_clusters(index.folder, count=3, link=tmp_path / "links", yes=True, out=tmp_path / "clusters.csv")
    assert len([*(tmp_path / "links").glob("cluster-00[123]/*/*.png")]) == len(index)
    for _ in range(2):
        table = openjepa.curate_sample(index.folder, n=4, out=tmp_path / "sample.xlsx")
    head, *rows = sheet_values(tmp_path / "sample.xlsx")
    assert head == ["rank", "path", "cosine"] and [row[1] for row in rows] == table["path"].to_pylist()
    assert [row[2:] for row in rows] == [[], *([pytest.approx(one)] for one in table["cosine"].to_pylist()[1:])]
    assert "4 images of 62, diverse" in capsys.readouterr().out
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(UsageError, match="is not an output of openjepa"):
        openjepa.curate_sample(index.folder, n=4, out=tmp_path / "mine.csv")


def test_what_to_label_next_is_uncertain_and_not_alike(index, tmp_path, capsys):
    given = {"red/00.png": "warm", "red/01.png": "warm", "blue/00.png": "cold", "blue/01.png": "cold"}
    rows = index.sample(4, by="uncertain", given=given).to_pylist()
    fresh = [row for row in index.spread_labels(given).to_pylist() if row["given"] is None]
    pool = {row["path"]: row for row in fresh[:20]}
    assert rows[0]["path"] == fresh[0]["path"] and len({row["path"] for row in rows} & pool.keys()) == 4
    assert all(
        (row["label"], row["confidence"]) == (pool[row["path"]]["label"], pool[row["path"]]["confidence"])
        for row in rows
    )
    vectors = index.vectors.at([index.place_of(row["path"]) for row in rows])
    for place in range(1, 4):
        assert rows[place]["cosine"] == pytest.approx(float((vectors[:place] @ vectors[place]).max()), abs=1e-5)
    (tmp_path / "labels.csv").write_text("path,kind\n" + "".join(f"{path},{kind}\n" for path, kind in given.items()))
    table = openjepa.curate_sample(index.folder, n=4, by="uncertain", labels=tmp_path / "labels.csv")
    assert table["path"].to_pylist() == [row["path"] for row in rows] and "uncertain" in capsys.readouterr().out
    for more, said in (({"by": "uncertain"}, "go together"), ({"labels": tmp_path / "labels.csv"}, "go together")):
        with pytest.raises(UsageError, match=said):
            openjepa.curate_sample(index.folder, n=4, **more)
    with pytest.raises(UsageError, match="--n 99 is not possible: 58 images"):
        index.sample(99, by="uncertain", given=given)
    with pytest.raises(UsageError, match="2 or more"):
        index.sample(2, by="uncertain")


def test_a_path_that_leads_out_is_not_followed(index, tmp_path):
    (tmp_path / "x.png").touch()
    for path in ("../../x.png", str(tmp_path / "x.png"), "a\0.png"):
        with pytest.raises(UsageError, match="leads out of"):
            planned(index, [path], [""], tmp_path / "into")
