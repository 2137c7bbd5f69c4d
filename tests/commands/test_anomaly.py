"""`openjepa anomaly`: fit, score and evaluate, and what they refuse, on drawn images in the layout of MVTec AD."""

import csv
import json
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.anomaly_parts import draw_masks, draw_parts, save_encoder
from support.foreign import timm_folder
from support.sheets import sheet_values

import openjepa
from openjepa.anomaly.stored import FACTS
from openjepa.cli import main
from openjepa.console import console
from openjepa.errors import UsageError

CPU = {"workers": 0, "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, images in the layout of MVTec AD with two kinds of defects, and a detector with a threshold."""
    folder = tmp_path_factory.mktemp("anomaly")
    save_encoder(folder / "model")
    draw_parts(folder / "parts/train/good", 40)
    draw_parts(folder / "parts/test/good", 10, seed=1)
    for seed, kind in enumerate(("hole", "spot"), 2):
        draw_parts(folder / "parts/test" / kind, 5, defects=5, seed=seed)
        draw_masks(folder / "parts/ground_truth" / kind, 5)
    openjepa.anomaly_fit(folder / "model", folder / "parts", out=folder / "detector", false_alarms="10%", **CPU)
    return folder


def _as_number(text):
    return str(float(text)) if text[-1].isdigit() else text


def test_scores_of_every_image_the_oddest_first_and_a_picture_of_each(place, tmp_path, capsys):
    kept = {"out": tmp_path / "s.csv", "maps": tmp_path / "maps", "page": tmp_path / "s.html"}
    out = openjepa.anomaly_score(place / "detector", place / "parts/test", **kept, **CPU)
    assert "The least odd" in (tmp_path / "s.html").read_text()
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["path", "score", "anomalous", "p_value", "memory", "density", "pixels"] and len(rows) == 20
    assert {row["path"].split("/")[0] for row in rows[:10]} == {"hole", "spot"}
    assert all(
        row["anomalous"] == "yes" and float(row["p_value"]) == pytest.approx(1 / 11, abs=1e-4) for row in rows[:10]
    )
    above = sum(row["anomalous"] == "yes" for row in rows)
    assert f"{above} of 20 images are anomalous" in capsys.readouterr().out and 10 <= above < 15
    for row in rows:
        picture = np.asarray(Image.open(tmp_path / "maps" / row["path"]))
        assert picture.shape == (24, 32, 3)
    openjepa.anomaly_score(place / "detector", place / "parts/test", out=tmp_path / "s.xlsx", **CPU)
    head, *cells = sheet_values(tmp_path / "s.xlsx")
    assert head == list(rows[0]) and {float: 5, str: 2} == Counter(map(type, cells[0]))
    assert [[*map(str, row)] for row in cells] == [[*map(_as_number, row.values())] for row in rows]
    openjepa.anomaly_score(place / "detector", place / "parts/test", out=out, **CPU)  # its own output may be replaced


def test_evaluation_says_how_well_each_kind_is_found_and_where(place, tmp_path):
    kept = {name: tmp_path / f"r.{name}" for name in ("json", "csv", "xlsx")} | {"page": tmp_path / "r.html"}
    records = openjepa.anomaly_evaluate(place / "detector", place / "parts", **kept, **CPU)
    assert json.loads((tmp_path / "r.json").read_text()) == records
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/png") == 18 and "False alarms" in page and "threshold" in page
    openjepa.anomaly_evaluate(place / "detector", place / "parts", **kept, **CPU)  # its own outputs may be replaced
    table = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert [float(row["value"]) for row in table] == [r["value"] for r in records]
    assert [row[:4] for row in sheet_values(tmp_path / "r.xlsx")[1:]] == [
        [r["score"], r["kind"], r["metric"], r["value"]] for r in records
    ]
    found = {(r["score"], r["kind"], r["metric"]): r for r in records}
    for kind in ("all", "hole", "spot"):
        assert all(found["score", kind, metric]["value"] == pytest.approx(1) for metric in ("AUROC", "AUPR"))
        assert found["score", kind, "AUPRO"]["value"] > 0.8
        assert found["score", kind, "found"]["value"] == 1
    assert found["score", "all", "false alarms"]["value"] <= 0.3
    assert {"memory", "density"} < {r["score"] for r in records}
    assert all(r["low"] - 1e-9 <= r["value"] <= r["high"] + 1e-9 for r in records)


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_of_an_evaluation_is_not_folded(place, tmp_path, capsys, monkeypatch, width):
    """With four scores and long names of kinds, every number is printed whole."""
    about = {"scores": "memory,density,image,energy", "false_alarms": "10%", **CPU}
    detector = openjepa.anomaly_fit(place / "model", place / "parts", out=tmp_path / "detector", **about)
    parts = shutil.copytree(place / "parts", tmp_path / "parts")
    for folder in ("test", "ground_truth"):
        (parts / folder / "hole").rename(parts / folder / "manipulated_front_of_the_part")
    monkeypatch.setattr(console, "_width", width)
    capsys.readouterr()
    records = openjepa.anomaly_evaluate(detector, parts, **CPU)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    words = [word for line in lines for word in re.split(r"  +", line)]
    for record in records:
        value, low, high = (100 * record[key] for key in ("value", "low", "high"))
        assert f"{value:.1f} ({low:.1f}–{high:.1f})" in words
        assert {record["score"], record["metric"], record["kind"]} - {"all"} <= set(words)


def test_class_folders_and_a_csv_tell_kinds_apart_too(place, tmp_path):
    test = place / "parts/test"
    lines = [f"{path},{int(path.parent.name != 'good')}" for path in sorted(test.glob("*/*.png"))]
    (tmp_path / "list.csv").write_text("path,odd\n" + "\n".join(lines))
    same = [
        openjepa.anomaly_evaluate(place / "detector", source, **about, **CPU)[0]
        for source, about in (
            (test, {}),
            (tmp_path / "list.csv", {}),
            (tmp_path / "list.csv", {"label": "odd", "normal": "0", "masks": place / "parts/ground_truth"}),
        )
    ]
    assert [record["value"] for record in same] == pytest.approx([1, 1, 1])


def test_one_normal_image_is_enough_without_a_rate(place, tmp_path):
    one = draw_parts(tmp_path / "one", 1)
    out = openjepa.anomaly_fit(place / "model", one, out=tmp_path / "detector", **CPU)
    records = openjepa.anomaly_evaluate(out, place / "parts", **CPU)
    assert records[0]["metric"] == "AUROC" and records[0]["value"] > 0.95
    openjepa.anomaly_fit(place / "model", one, out=tmp_path / "seeded", scores="memory", seed=-1, **CPU)
    with pytest.raises(
        UsageError, match="--false-alarms 1% needs 99 normal images that are held out, and of 1 images 0"
    ):
        openjepa.anomaly_fit(place / "model", one, out=tmp_path / "other", false_alarms="1%", **CPU)
    assert not (tmp_path / "other").exists()


def test_energy_is_a_score_of_models_with_a_predictor(place, tmp_path):
    about = {"scores": "memory,energy", "false_alarms": "10%", **CPU}
    detector = openjepa.anomaly_fit(place / "model", place / "parts", out=tmp_path / "detector", **about)
    records = openjepa.anomaly_evaluate(detector, place / "parts", **CPU)
    assert {record["score"] for record in records} == {"score", "memory", "energy"} and records[0]["value"] > 0.9
    openjepa.import_(place / "model", tmp_path / "alone")
    (tmp_path / "alone/predictor.safetensors").unlink()
    facts = json.loads((tmp_path / "alone/openjepa.json").read_text())
    del facts["predictor"]
    (tmp_path / "alone/openjepa.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="alone has no predictor, which energy needs: give a run, or an artifact"):
        openjepa.anomaly_fit(tmp_path / "alone", place / "parts", out=tmp_path / "other", **about)
    timm_folder(tmp_path / "timm", "vit_base_patch16_224")
    with pytest.raises(UsageError, match="timm has no predictor, which energy needs"):
        openjepa.anomaly_fit(tmp_path / "timm", place / "parts", out=tmp_path / "other", **about)


def test_unreadable_images_are_listed(place, tmp_path):
    images = draw_parts(tmp_path / "images", 45)
    (images / "007.png").write_bytes((images / "007.png").read_bytes()[:400])
    out = openjepa.anomaly_fit(place / "model", images, out=tmp_path / "detector", max_skipped=0.1, **CPU)
    assert (out / "skipped.txt").read_text().startswith("007.png\t")
    with pytest.raises(UsageError, match="cannot be used"):
        openjepa.anomaly_fit(place / "model", images, out=tmp_path / "other", max_skipped=0, **CPU)
    assert not (tmp_path / "other").exists()


def refused(call, words):
    with pytest.raises(UsageError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_what_cannot_be_fitted_is_refused_in_one_line(place, tmp_path):
    def fit(**about):
        openjepa.anomaly_fit(
            **{"model": place / "model", "normals": place / "parts", "out": tmp_path / "x", **about, **CPU}
        )

    refused(lambda: fit(model="pixels"), "pixels has no patch tokens")
    refused(lambda: fit(false_alarms="0%"), "--false-alarms 0% is not a rate: give a percentage")
    refused(lambda: fit(false_alarms="5"), "--false-alarms 5 is not a rate")
    refused(lambda: fit(scores="memory,magic"), "--scores magic is not known: known are memory, density, pixels, image")
    refused(lambda: fit(scores="image"), "--scores image alone does not say where")
    refused(lambda: fit(layers=3), "--layers 3 is not possible: .* gives 1 to 2")
    refused(lambda: fit(pool=2), "--pool 2 is not possible: give an odd number")
    refused(lambda: fit(coreset="best"), "--coreset best is not known: known are greedy, random")
    refused(lambda: fit(memory=0), "--memory 0 is not possible")
    refused(lambda: fit(image_size="30"), "30")
    turned = {"any_orientation": True}
    refused(lambda: fit(**turned), "--any-orientation needs square images, and .* sees 32x24 px: give --image-size")
    refused(lambda: fit(**turned, image_size="32", scores="memory,density"), "does not work with --scores density")
    wide = draw_parts(tmp_path / "wide", 2, size=(64, 32))
    save_encoder(tmp_path / "stretching", max_stretch=9.0)
    about = {"model": tmp_path / "stretching", "normals": wide, "image_size": "32"}
    refused(lambda: fit(**turned, **about), "images of 64x32 px as squares: crop them to squares")
    refused(lambda: fit(out=place / "detector"), "holds an earlier output: give --out another name, or --overwrite")
    refused(lambda: fit(out=place / "parts"), "exists and is not empty")
    assert not (tmp_path / "x").exists()
    fit(out=tmp_path / "y")
    fit(out=tmp_path / "y", overwrite=True)


def test_what_cannot_be_scored_or_measured_is_refused_in_one_line(place, tmp_path):
    save_encoder(tmp_path / "other", seed=1)
    detector, test = place / "detector", place / "parts/test"

    def score(folder=detector, **about):
        openjepa.anomaly_score(folder, test, out=tmp_path / "s.csv", **about, **CPU)

    refused(lambda: score(test), "is no detector: give a folder that openjepa anomaly fit wrote")
    refused(lambda: score(model=str(tmp_path / "other")), "was fitted on another model than")
    refused(lambda: score(maps=test / "maps"), "lies in .*test")
    refused(lambda: score(page=tmp_path / "page.txt"), "page.txt is not a page: give a name that ends in .html")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / FACTS).write_text((detector / FACTS).read_text().replace('"pool": 1', '"pool": -1'))
    refused(lambda: score(tmp_path / "odd"), "detector.json is damaged: patches.pool is -1")
    lies: dict = {"suspects": [{"path": "a.png", "above": "far"}], "lighting": {"plain": 2.0, "even": 0.5, "images": 9}}
    for name, value in lies.items():
        facts = json.loads((detector / FACTS).read_text()) | {name: value}
        (tmp_path / "odd" / FACTS).write_text(json.dumps(facts))
        refused(lambda: score(tmp_path / "odd"), f"detector.json is damaged: {name}")

    named = re.sub(r'"model": ".*"', '"model": "timm:vit_x"', (detector / FACTS).read_text())
    (tmp_path / "odd" / FACTS).write_text(named)
    refused(lambda: score(tmp_path / "odd"), "is of the model timm:vit_x, which is not a folder")

    def evaluate(source=test, **about):
        openjepa.anomaly_evaluate(detector, source, **about, **CPU)

    refused(lambda: evaluate(place / "parts/train"), "have no classes: give the layout of MVTec AD")
    refused(lambda: evaluate(normal="fine"), "has no class fine: name one of its classes with --normal")
    refused(lambda: evaluate(label="kind"), "--label kind is not known: known are class")
    refused(lambda: evaluate(masks=str(draw_parts(tmp_path / "none", 2))), "000 matches .* equally well")
    (tmp_path / "none/000.png").rename(tmp_path / "none/a.png")
    (tmp_path / "none/001.png").rename(tmp_path / "none/b.png")
    refused(lambda: evaluate(masks=str(tmp_path / "none")), "no mask in .* is named like an image")
    draw_masks(tmp_path / "small/hole", 5, size=(16, 12))
    refused(
        lambda: evaluate(masks=str(tmp_path / "small")), "has 16x12 px and its image .* 32x24: give masks of the size"
    )
    assert not (tmp_path / "s.csv").exists()


def test_images_of_another_size_are_noted_and_of_other_channels_refused(place, tmp_path, capsys):
    wide = draw_parts(tmp_path / "wide", 2, size=(64, 24))
    openjepa.anomaly_score(place / "detector", wide, out=tmp_path / "s.csv", **CPU)
    assert "2 of 2 images are not of 32x24 px, which the normal images" in " ".join(capsys.readouterr().out.split())
    many = tmp_path / "many"
    many.mkdir()
    for number in range(3):
        np.save(many / f"{number}.npy", np.zeros((24, 32, 5), np.float32))
    refused(
        lambda: openjepa.anomaly_score(place / "detector", many, out=tmp_path / "t.csv", **CPU),
        "5 .*channels|channels .*5",
    )


PAGE = (Path(__file__).parents[2] / "docs" / "anomaly.md").read_text()


def test_the_guide_says_what_works(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, where in (("runs/parts", "model"), ("parts", "parts"), ("new", "parts/test/hole")):
        shutil.copytree(place / where, name)
    images = sorted(Path("parts/test").glob("*/*.png"))
    Path("parts.csv").write_text("path,kind\n" + "\n".join(f"{path},{path.parent.name}" for path in images))
    commands = [line for line in PAGE.splitlines() if line.startswith("openjepa ")]
    assert len(commands) == 10
    for line in commands:
        monkeypatch.setattr("sys.argv", [*shlex.split(line), "--workers", "0", "--precision", "float32"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0, line
    known: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, known)
    assert known["auroc"] > 0.9 and known["maps"].shape == (2, 48) and known["matched"].shape == (2,)
