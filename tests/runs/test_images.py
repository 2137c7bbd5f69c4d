"""Images that a command leaves out are named, and as many as the user allows."""

import pytest
from PIL import Image
from support.photos import draw_photos

import openjepa
from openjepa.data.open import open_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.errors import UsageError
from openjepa.runs.images import leave_out_small, prepare_images

SHORT = {"image_size": 16, "patch_size": 4, "steps": 2, "batch_size": 8, "model": "vit_nano", "workers": 0}


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_smaller_than_a_patch_are_left_out_where_that_is_allowed(tmp_path, in_memory, capsys):
    folder = draw_photos(tmp_path / "photos", 12)
    Image.new("RGB", (1, 1)).save(folder / "cat/tiny.png")
    if in_memory:
        dataset, summary = prepare_images(folder, 0)
    else:
        dataset, summary = inspect_dataset(open_dataset(folder))
    with pytest.raises(UsageError, match=r"1 of 13 images .* \(cat/tiny.png: 1 px\): give --patch-size 1 or less"):
        leave_out_small(dataset, summary, 4, 0.05)
    kept, summary = leave_out_small(dataset, summary, 4, 0.1)
    assert len(kept) == summary.images == 12 and "cat/tiny.png" not in list(kept.paths)
    assert summary.sizes == [(20, 20, 12)] and kept.labels["class"].tolist() == [0] * 6 + [1] * 6
    assert summary.skipped == [("cat/tiny.png", "smaller than a patch (1 px, a patch 4)")]


@pytest.mark.parametrize("resume", [False, True])
def test_images_that_are_all_smaller_than_a_patch_are_refused_before_one_is_decoded(tmp_path, monkeypatch, resume):
    folder = draw_photos(tmp_path / "photos", 12)
    if resume:
        openjepa.pretrain(folder, out=tmp_path / "run", **SHORT)
    for path in folder.rglob("*.jpg"):
        Image.new("RGB", (3, 2)).save(path)
    monkeypatch.setattr("openjepa.runs.images.hold_in_memory", lambda *_: pytest.fail("decoded"))
    given = {"resume": True} if resume else SHORT
    with pytest.raises(UsageError, match=r"12 of 12 images in .* smaller than a patch of 4 px: give --patch-size 2"):
        openjepa.pretrain(folder, out=tmp_path / "run", **given)


def test_a_damaged_image_that_claims_to_be_tiny_is_damaged_alone(tmp_path):
    folder = draw_photos(tmp_path / "photos", 12)
    Image.new("RGB", (2000, 1), "red").save(folder / "cat/tiny.bmp")
    (folder / "cat/tiny.bmp").write_bytes((folder / "cat/tiny.bmp").read_bytes()[:-60])
    dataset, summary = prepare_images(folder, 0, max_skipped=0.5)
    assert leave_out_small(dataset, summary, 4, 0.5)[0] is dataset
    assert [path for path, _ in summary.skipped] == ["cat/tiny.bmp"]


def test_a_run_skips_and_lists_a_tiny_image_and_resumes(tmp_path):
    folder = draw_photos(tmp_path / "photos", 12)
    Image.new("RGB", (1, 1)).save(folder / "cat/tiny.png")
    run = openjepa.pretrain(folder, out=tmp_path / "run", max_skipped=0.1, **SHORT)
    assert "cat/tiny.png\tsmaller than a patch" in (tmp_path / "run/skipped.txt").read_text()
    assert openjepa.pretrain(folder, out=tmp_path / "run", resume=True) == run


def test_evaluate_names_what_it_cannot_decode_when_images_do_not_fit_into_memory(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("openjepa.runs.images.MEMORY_LIMIT", 0)
    folder = draw_photos(tmp_path / "photos", 40)
    for name in ("cat/000.jpg", "dog/001.jpg"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-60])
    settings = {"tasks": "knn", "cache": tmp_path / "cache", "workers": 0}
    for _ in range(2):
        with pytest.raises(UsageError, match=r"\d of \d+ images .* cannot be used .*00\d.jpg: truncated"):
            openjepa.evaluate("pixels", folder, max_skipped=0.01, **settings)
    assert openjepa.evaluate("pixels", folder, max_skipped=0.2, **settings)
    said = capsys.readouterr()
    assert "that cannot be decoded" in said.out + said.err
