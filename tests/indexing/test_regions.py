"""Patch tokens follow the images of an index, and search finds what is in a box."""

import csv
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageOps
from support import foreign
from support.html_checks import check_stands_alone
from torch.nn.functional import normalize

import openjepa
from openjepa.data.crops import Frame
from openjepa.errors import UsageError
from openjepa.indexing import build, facts, regions
from openjepa.indexing.patch_tokens import KEY, PATCHES, PatchGrid, as_unit, grid_for, outputs, quantised
from openjepa.indexing.regions import Window, box_of, region_of
from openjepa.indexing.store import BASE, Store, lancedb
from openjepa.interop.open_model import open_model

MODEL = "untrained:vit_nano_patch8_32"
PLANTED = ("cat/000.jpg", "dog/013.jpg", "dog/017.jpg")


def make(photos, out, **more):
    return openjepa.index(MODEL, photos, out=out, workers=0, **more)


def rows(folder):
    found = Store.open(folder).read([*BASE, "vector", PATCHES]).to_pylist()
    return {row["path"]: row for row in found}


def grid(max_stretch=0.0, zoom=1.0):
    return PatchGrid(rows=4, columns=8, width=2, image_size=(32, 64), max_stretch=max_stretch, zoom=zoom)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Noise, of which three images show the same stripes, 16 px, at places of their own."""
    home, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(0)
    stripes = np.repeat(np.array([[255, 0, 0], [0, 0, 255]] * 4, np.uint8)[:, None], 16, axis=1).repeat(2, axis=0)
    for number in range(24):
        path = f"{('cat', 'dog')[number % 2]}/{number:03}.jpg"
        image = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        if path in PLANTED:
            left = 16 * PLANTED.index(path)
            image[16:32, left : left + 16] = stripes
        (home / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / "photos" / path, quality=95)
    make(home / "photos", home / "index", patches=True)
    return home


@pytest.fixture
def index(planted):
    return openjepa.open_index(planted / "index")


def test_cosines_of_tokens_are_kept():
    tokens = torch.randn(200, 128, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 4, 200)[:, None]
    tokens[:, 7] *= 9  # a number that is far larger than the others
    kept, exact = as_unit(quantised(tokens)), normalize(tokens, dim=1)
    assert (kept @ kept.T - exact @ exact.T).abs().max() < 0.01
    assert not quantised(torch.tensor([[0.0, 0.0], [torch.nan, 1e-44]]))[0].any()


def test_an_index_without_patch_tokens_gets_them_and_keeps_them(photos, tmp_path, monkeypatch):
    for module, name, value in ((build, "CHUNK", 8), (facts, "CHUNK", 8), (build, "SHARD", 8)):
        monkeypatch.setattr(module, name, value)
    whole, out = rows(make(photos, tmp_path / "whole", patches=True)), make(photos, tmp_path / "index")
    with pytest.raises(UsageError, match=r"has no patch tokens, which --box needs: give openjepa index .* --patches"):
        openjepa.open_index(out).search("cat/000.jpg", box=(0, 0, 9, 9))
    add, left = Store.add, [1]

    def fail(self, *given, **more):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        add(self, *given, **more)

    monkeypatch.setattr(Store, "add", fail)
    with pytest.raises(KeyboardInterrupt):
        make(photos, out, patches=True)
    with pytest.raises(UsageError, match=r"lacks patch tokens of some images: give openjepa index .* --patches again"):
        openjepa.open_index(out).search("cat/000.jpg", box=(0, 0, 9, 9))
    monkeypatch.setattr(Store, "add", add)
    assert rows(make(photos, out, patches=True)) == whole
    shutil.copy(photos / "cat" / "000.jpg", photos / "cat" / "new.jpg")
    (photos / "dog" / "001.jpg").unlink()
    shutil.copy(photos / "cat" / "002.jpg", photos / "dog" / "003.jpg")
    after = rows(make(photos, out))  # without --patches
    assert after.keys() == whole.keys() - {"dog/001.jpg"} | {"cat/new.jpg"}
    assert after["cat/new.jpg"][PATCHES] == whole["cat/000.jpg"][PATCHES]
    assert after["dog/003.jpg"][PATCHES] == whole["cat/002.jpg"][PATCHES] != whole["dog/003.jpg"][PATCHES]


def test_patch_tokens_are_those_of_the_model(planted, index):
    image = Image.open(planted / "photos" / PLANTED[0])
    exact = normalize(index.model.patch_tokens([image]).flatten(1, 2)[0], dim=1)
    stored = index.regions.stored(np.array([index.place_of(PLANTED[0])]))[0]
    assert (exact * stored).sum(dim=1).min() > 0.999


@pytest.mark.parametrize("pooling", ["auto", "mean", "class"])
def test_vectors_of_a_foreign_model_are_the_same_with_patch_tokens(tmp_path, pooling):
    foreign.timm_folder(tmp_path / "model", "vit_base_patch16_224")
    model = open_model(str(tmp_path / "model"), torch.device("cpu"), torch.float32, pooling)
    pixels, seen = foreign.images(model.image_size), grid_for(model)
    made = outputs(model, pixels, seen)
    assert torch.equal(made.vectors, model.features(pixels).half())
    exact = normalize(model.tokens(pixels), dim=-1)
    assert (as_unit(made.patches) * exact).sum(dim=-1).min() > 0.999
    assert seen.frame == model.frame._replace(kernel=seen.frame.kernel) and seen.zoom < 1


@pytest.mark.parametrize(
    ("seen", "size", "box", "window", "back"),
    [
        (grid(), (640, 320), (0, 0, 640, 320), Window(0, 0, 4, 8), (0, 0, 640, 320)),
        (grid(), (640, 320), (75, 80, 250, 170), Window(1, 1, 1, 2), (80, 80, 240, 160)),
        (grid(), (640, 320), (300, 300, 303, 301), Window(3, 3, 1, 1), (240, 240, 320, 320)),  # less than a patch
        (grid(), (640, 640), (0, 150, 80, 240), Window(0, 0, 1, 1), (0, 160, 80, 240)),  # the middle is seen
        (grid(None), (320, 640), (0, 480, 40, 640), Window(3, 0, 1, 1), (0, 480, 40, 640)),  # stretched
        (grid(zoom=0.5), (640, 320), (160, 80, 200, 120), Window(0, 0, 1, 1), (160, 80, 200, 120)),
    ],
)
def test_boxes_become_patches_and_patches_boxes(seen, size, box, window, back):
    region = region_of(torch.arange(64.0).view(32, 2), box, size, seen, "it")
    assert region.window == window and box_of(window, size, seen) == back
    assert region.places.tolist() == [
        8 * row + column
        for row in range(window.top, window.top + window.rows)
        for column in range(window.left, window.left + window.columns)
    ]
    assert seen.frame == Frame((32, 64), float("inf") if seen.max_stretch is None else seen.max_stretch, seen.zoom)


def test_a_box_outside_of_what_the_model_sees_is_refused():
    tokens = torch.zeros(32, 2)
    with pytest.raises(UsageError, match=r"is outside of what the model sees of it, 0 160 640 480: give a box in that"):
        region_of(tokens, (0, 0, 640, 150), (640, 640), grid(), "it")
    assert region_of(tokens, (0, 80, 640, 240), (640, 640), grid(), "it").seen == 0.5


def reference(index, query, box_places):
    """Scores of all images, by plain means over the whole index."""
    table = Store.open(index.folder).read(["path", PATCHES]).to_pylist()
    tokens = torch.stack([torch.frombuffer(bytearray(row[PATCHES]), dtype=torch.int8) for row in table])
    tokens = normalize(tokens.view(len(table), 16, -1).double(), dim=-1)
    overall, count = tokens.mean(dim=(0, 1)), len(table)
    centred = tokens - overall - (tokens.mean(dim=0) - overall) * count / (count + regions.PRIOR)
    covariance = centred.flatten(0, 1).T @ centred.flatten(0, 1)
    values, directions = torch.linalg.eigh(covariance / covariance.trace() * len(covariance))
    white = normalize(centred @ directions / (values + regions.DAMPING).sqrt(), dim=-1)
    place = [row["path"] for row in table].index(query)
    cosines = torch.einsum("qd,nkd->nqk", white[place][box_places], white).amax(dim=2).mean(dim=1)
    return {row["path"]: float(score) for row, score in zip(table, cosines, strict=True) if row["path"] != query}


def test_scores_are_those_of_late_interaction(index, monkeypatch):
    expected = reference(index, PLANTED[0], [4, 8])
    found = index.search(PLANTED[0], box=(0, 16, 16, 48), top=50)
    assert found["path"].to_pylist() == sorted(expected, key=lambda path: -expected[path])
    assert found["cosine"].to_pylist() == pytest.approx(sorted(expected.values(), reverse=True), abs=2e-3)
    monkeypatch.setattr(regions, "HELD", 0)  # tokens are read from the table for each query
    read = openjepa.open_index(index.folder).search(PLANTED[0], box=(0, 16, 16, 48), top=5)
    assert read["path"].to_pylist() == found["path"].to_pylist()[:5]
    monkeypatch.undo()
    monkeypatch.setattr(regions, "WORK", 0)  # as many candidates as results
    few = openjepa.open_index(index.folder).search(PLANTED[0], box=(0, 16, 16, 32), top=2)
    assert set(few["path"].to_pylist()) == set(PLANTED[1:])


def test_a_planted_object_is_found_with_its_place(index, planted, tmp_path):
    found = index.search(PLANTED[0], box=(0, 16, 16, 32), top=2).to_pylist()
    places = {row["path"]: [row[side] for side in regions.BOX] for row in found}
    assert places == {PLANTED[1]: [16, 16, 32, 32], PLANTED[2]: [32, 16, 48, 32]}
    image = Image.open(planted / "photos" / PLANTED[0])
    given = [np.asarray(image), image, shutil.copy(planted / "photos" / PLANTED[0], tmp_path / "copy.jpg")]
    for one in given:
        assert index.search(one, box=(0, 16, 16, 32), top=1)["path"].to_pylist() == [PLANTED[0]]
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    ImageOps.flip(ImageOps.mirror(image)).save(tmp_path / "turned.png", exif=exif)
    assert index.search(tmp_path / "turned.png", box=(0, 16, 16, 32), top=1)["path"].to_pylist() == [PLANTED[0]]
    dogs = index.search(PLANTED[0], box=(0, 16, 16, 32), where="path != 'dog/013.jpg'", top=50)
    assert dogs["path"][0].as_py() == PLANTED[2] and len(dogs) == 22


def test_what_is_no_box_of_an_image_is_refused(index, photos, tmp_path):
    for box in ((0, 0, 65, 9), (5, 5, 5, 9), (9, 0, 5, 9), (-1, 0, 5, 9), (float("nan"), 0, 5, 9), (0, 0, 1e400, 9)):
        with pytest.raises(
            UsageError, match=r"is not in cat/000.jpg \(64 x 64 px\): .* 0 <= X0 < X1 <= 64 and 0 <= Y0"
        ):
            index.search("cat/000.jpg", box=box)
    for more in ({"like": ["cat/000.jpg"]}, {"unlike": ["cat/000.jpg"]}):
        with pytest.raises(UsageError, match="without --like and --unlike"):
            index.search("cat/000.jpg", box=(0, 0, 9, 9), **more)
    with pytest.raises(UsageError, match="give one IMAGE"):
        openjepa.search(index.folder, ["cat/000.jpg", "dog/001.jpg"], box=(0, 0, 9, 9))
    with pytest.raises(UsageError, match="pixels has no patch tokens, only features of whole images"):
        openjepa.index("pixels", photos, out=tmp_path / "index", patches=True, workers=0)
    assert not (tmp_path / "index").exists() or not any((tmp_path / "index").glob("*.lance"))


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"rows": 2}, "its patch tokens are not"),
        ({"rows": 2, "columns": 8}, "are not those of"),
        ({"columns": 0}, "is damaged: columns"),
        ({"zoom": 0}, "is damaged: zoom"),
        (None, "is damaged"),
    ],
)
def test_patch_tokens_that_lie_are_refused(planted, tmp_path, lie, said):
    table = Store.open(planted / "index").table.to_arrow()
    place = table.schema.get_field_index(PATCHES)
    field = table.schema.field(place)
    about = None if lie is None else {KEY: json.dumps(json.loads(field.metadata[KEY]) | lie)}
    schema = table.schema.set(place, field.with_metadata(about))
    lancedb().connect(str(tmp_path / "index")).create_table("images", table.cast(schema))
    Image.new("RGB", (64, 64)).save(tmp_path / "other.png")
    with pytest.raises(UsageError, match=said):
        openjepa.open_index(tmp_path / "index").search(tmp_path / "other.png", box=(0, 0, 9, 9))
    with pytest.raises(UsageError, match=said):
        make(planted / "photos", tmp_path / "index")


def test_an_image_without_a_size_is_refused(planted, tmp_path):
    table = Store.open(planted / "index").table.to_arrow()
    place = table.schema.get_field_index("width")
    wrong = table.set_column(place, table.schema.field(place), pa.array([0] * len(table), pa.int32()))
    lancedb().connect(str(tmp_path / "index")).create_table("images", wrong)
    with pytest.raises(UsageError, match="an image has no width or height"):
        openjepa.open_index(tmp_path / "index").search("cat/000.jpg", box=(0, 0, 9, 9))


def test_the_command_names_and_marks_the_places(planted, tmp_path, capsys):
    outputs = {name: tmp_path / f"found.{name}" for name in ("html", "csv", "json")}
    found = openjepa.search(planted / "index", [PLANTED[0]], box=(0, 16, 16, 32), top=2, **outputs)
    assert "16 16 32 32" in capsys.readouterr().out and "percentile" not in found[0]
    assert json.loads(outputs["json"].read_text()) == found
    assert {row["x0"] for row in csv.DictReader(outputs["csv"].open())} == {"16", "32"}
    page = check_stands_alone(outputs["html"].read_text())
    assert [about["title"] for name, about in page.seen if name == "img"] == [PLANTED[0], *(r["path"] for r in found)]
    assert "The box in the first image was searched" in outputs["html"].read_text()
    Image.open(planted / "photos" / PLANTED[0]).resize((64, 96)).save(tmp_path / "high.png")
    openjepa.search(planted / "index", [str(tmp_path / "high.png")], box=(0, 0, 64, 32), top=2)
    assert "the model sees 50 % of the box: it reads 0 16 64 80 of the image" in capsys.readouterr().out
    again = openjepa.search(MODEL, [PLANTED[0]], data=planted / "photos", box=(0, 16, 16, 32), top=2, workers=0)
    assert again == found
