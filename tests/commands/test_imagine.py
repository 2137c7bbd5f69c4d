"""`openjepa imagine`: the page and the tables say which real patches are nearest, and where; what it refuses."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from support.anomaly_parts import GREY, SHAPE, save_encoder
from support.html_checks import check_stands_alone

import openjepa
from openjepa.cli import main
from openjepa.encoder.baselines import seeded
from openjepa.errors import UsageError
from openjepa.files.marks import is_output
from openjepa.interop.artifact import save_artifact
from openjepa.methods.joint.simclr import SimCLR
from openjepa.runs.detectors import open_energies

CPU = {"workers": 0, "device": "cpu", "precision": "float32"}
BOX = (16, 8, 32, 32)  # of 64 x 48 pixels: patches of 8 px, rows 1 to 3, columns 2 and 3
HIDDEN = [10, 11, 18, 19, 26, 27]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, an image, and a folder with a copy of it and four others, of which one has another size."""
    folder = tmp_path_factory.mktemp("imagine")
    save_encoder(folder / "model")
    (folder / "parts").mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((128, 96) if number == 3 else (64, 48)).save(folder / f"parts/{number}.png")
    shutil.copy(folder / "parts/0.png", folder / "asked.png")
    return folder


def imagine(place, tmp_path, **more):
    given = {"box": BOX, "out": tmp_path / "p.html", "draws": 2, "top": 3, **CPU, **more}
    return openjepa.imagine(place / "model", place / "asked.png", **given)


def test_records_and_page_name_the_nearest_patches_and_their_places(place, tmp_path, capsys):
    files = {"json": tmp_path / "p.json", "csv": tmp_path / "p.csv"}
    records = imagine(place, tmp_path, source=place / "parts", **files)
    said = capsys.readouterr().out
    assert "6 patches hidden, 42 visible; compared with 192 real patches of 4 of 5 images" in said
    nearest = [r for r in records if r["content"] == "nearest"]
    same = 100 * np.mean([r["patch"] == r["from_patch"] for r in nearest])
    assert f"{same:.1f} % of the nearest patches lie at the same place in their images; by chance 2.1 % would" in said
    energies = open_energies(str(place / "model"))
    images = energies.encoder.preprocess([Image.open(place / f"parts/{number}.png") for number in range(5)])
    targets = energies.targets(images)
    region = torch.tensor(HIDDEN)
    predicted = _predicted(energies, images[:1], region)
    found = [r for r in records if r["draw"] == 0 and r["content"] == "nearest"]
    assert [r["patch"] for r in found] == [place for place in HIDDEN for _ in range(3)]
    for row, hidden in enumerate(HIDDEN):
        distances = (predicted[row] - targets[1:]).square().mean(dim=-1)  # of all images but the one that is asked
        best = distances.min(dim=1)
        expected = sorted(zip(best.values.tolist(), range(1, 5), best.indices.tolist(), strict=True))[:3]
        mine = [r for r in found if r["patch"] == hidden]
        assert [r["rank"] for r in mine] == [1, 2, 3]
        assert [(r["path"], r["from_patch"]) for r in mine] == [(f"{i}.png", patch) for _, i, patch in expected]
        assert [r["energy"] for r in mine] == pytest.approx([energy for energy, *_ in expected], rel=1e-3)
        for r in mine:
            side, (top, left) = 16 if r["path"] == "3.png" else 8, divmod(r["from_patch"], 8)
            assert (r["x0"], r["y0"]) == (left * side, top * side) and r["x1"] - r["x0"] == side == r["y1"] - r["y0"]
    true = [r["energy"] for r in records if r["content"] == "true region" and r["draw"] == 0]
    assert np.mean(true) == pytest.approx(float(energies.pairs(images[:1], images[:1], region)), rel=1e-4)
    other = [r["energy"] for r in records if r["content"] == "region of another image" and r["path"] == "2.png"]
    mismatched = energies.pairs(images[:1], images[2:3], region)
    assert np.mean(other[: len(HIDDEN)]) == pytest.approx(float(mismatched), rel=1e-4)
    page = (tmp_path / "p.html").read_text()
    tags = check_stands_alone(page)
    names = [attributes["title"] for name, attributes in tags.seen if name == "img"]
    assert len(names) == 4 + 5 + 6 * 4  # visible, two draws, truth; one of each content; a row for each patch
    assert names[9::4] == [str(place / "asked.png")] * 6
    assert [name for at, name in enumerate(names[9:]) if at % 4] == [r["path"] for r in found]
    assert f"{records[0]['energy']:.3f}" in page
    assert json.loads(files["json"].read_text()) == records and all(map(is_output, files.values()))
    rows = list(csv.DictReader(files["csv"].open()))
    assert [*rows[0]] == [*records[0]] and [row["path"] for row in rows] == [r["path"] or "" for r in records]
    assert imagine(place, tmp_path, source=place / "parts", **files) == records  # its own outputs may be replaced
    assert imagine(place, tmp_path, source=place / "parts", seed=1) != records


def _predicted(energies, image, region):
    context = torch.tensor([patch for patch in range(48) if patch not in region.tolist()])
    with torch.no_grad():
        pixels = energies.encoder.standardised(image)
        return energies.predictor(energies.context(pixels, context[None]), context[None], region[None, None])[0, 0]


def test_an_index_gives_the_same_patches_as_its_images(place, tmp_path):
    openjepa.index(place / "model", place / "parts", out=tmp_path / "index", patches=True, **CPU)
    by_index = imagine(place, tmp_path, source=tmp_path / "index")
    by_image = [r for r in imagine(place, tmp_path, source=place / "parts") if r["content"] != "other image, pasted"]
    at = [[(r["draw"], r["patch"], r["content"], r["rank"]) for r in each] for each in (by_index, by_image)]
    assert at[0] == at[1] and "0.png" not in {r["path"] for r in by_index}
    pairs = [pair for pair in zip(by_index, by_image, strict=True) if pair[0]["content"] != "nearest"]
    assert [one["path"] for one, _ in pairs] == [other["path"] for _, other in pairs]
    for one, other in zip(by_index, by_image, strict=True):
        assert one["energy"] == pytest.approx(other["energy"], rel=0.03)
    save_encoder(tmp_path / "another", seed=1)
    with pytest.raises(UsageError, match="index was made with another model"):
        openjepa.imagine(
            tmp_path / "another",
            place / "asked.png",
            box=BOX,
            out=tmp_path / "p.html",
            source=tmp_path / "index",
            **CPU,
        )
    openjepa.index(place / "model", place / "parts", out=tmp_path / "plain", **CPU)
    with pytest.raises(UsageError, match="has no patch tokens"):
        imagine(place, tmp_path, source=tmp_path / "plain")


def test_the_image_itself_is_enough(place, tmp_path, capsys):
    records = imagine(place, tmp_path, draws=1)
    assert {r["path"] for r in records} == {str(place / "asked.png"), None}
    assert not set(HIDDEN) & {r["from_patch"] for r in records if r["content"] == "nearest"}
    assert "42 real patches of the image itself" in capsys.readouterr().out
    assert "of those that are visible in this image" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"box": (60, 0, 70, 10)}, "--box 60 0 70 10 is not in .*asked.png .64 x 48 px"),
        ({"box": (20, 8, 20, 30)}, "--box 20 8 20 30 is not in"),
        ({"box": (0, 0, 64, 48)}, "--box leaves 0 of 48 patches visible, and it takes 6"),
        ({"box": (0, 0, 64, 44)}, "--box leaves 0 of 48"),
        ({"draws": 0}, "--draws 0 is not possible: give 1 to 16"),
        ({"top": 21}, "--top 21 is not possible: give 1 to 20"),
        ({"images": 0}, "--images 0 is not possible"),
        ({"seed": -1}, "--seed -1 is not possible"),
        ({"out": "p.png"}, "--out p.png is not possible: give a name that ends in .html"),
        ({"csv": "p.txt"}, "--csv p.txt is not possible"),
        ({"source": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_expected_is_refused_in_words(place, tmp_path, more, said):
    with pytest.raises(UsageError, match=said):
        imagine(place, tmp_path, **more)
    assert not [*tmp_path.iterdir()]


def test_models_and_images_that_do_not_do(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = str(place / "asked.png")
    save_artifact(tmp_path / "plain", SimCLR.build(seeded(0, image_size=(24, 32), **SHAPE)), GREY, GREY, {})
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "alone").mkdir()
    shutil.copy(asked, tmp_path / "alone/x.png")
    words = ["--box", "16", "8", "32", "32", "--out", "p.html", "--workers", "0", "--device", "cpu"]
    for model, image, more, said in (
        ("plain", asked, [], "plain has no predictor, which energy needs: give a run, or an artifact"),
        ("nowhere", asked, [], "nowhere"),
        (str(place / "model"), "text.png", [], "text.png cannot be read as an image"),
        (str(place / "model"), "gone.png", [], "gone.png cannot be read"),
        (str(place / "model"), asked, ["--from", "alone"], "holds no image that can be read besides"),
    ):
        monkeypatch.setattr("sys.argv", ["openjepa", "imagine", model, image, *words, *more])
        with pytest.raises(SystemExit) as stopped:
            main()
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and error.count("\n") == 1 and said in error, error
    assert not (tmp_path / "p.html").exists()
