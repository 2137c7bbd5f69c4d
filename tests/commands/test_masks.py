"""masks as a person uses it: numbers that are true, a picture, and no file where the settings are impossible."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

import openjepa
from openjepa import cli
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", text)]


def test_statistics_equal_direct_counting(tmp_path, capsys):
    out = tmp_path / "new" / "masks.png"
    assert openjepa.masks(masks="multiblock", context_ratio=0.25, image_size="96", patch_size=8, seed=5, out=out) == out
    said = dict(re.findall(r"^  (\S+(?: \S+)?)  +(.*)$", capsys.readouterr().out, re.M))
    counts = np.zeros((2, 144))
    for step in range(64):
        masks = sample_masks(MaskSettings((12, 12)), 64, 5, step)
        for context, targets in zip(masks.context_ids, masks.target_ids.flatten(1), strict=True):
            counts[0, context] += 1
            counts[1, targets.unique()] += 1
    shares = 100 * counts / 4096
    assert numbers(said["context"]) == [36, 144, 25]
    assert numbers(said["as context"]) == pytest.approx([shares[0].min(), shares[0].max()], abs=0.5)
    assert numbers(said["as target"]) == pytest.approx([shares[1].min(), shares[1].max()], abs=0.5)
    assert numbers(said["targets"]) == pytest.approx([4, shares[1].mean()], abs=0.5)
    assert numbers(said["never used"]) == [0, 0] and said["overlap"].startswith("none")
    assert min(Image.open(out).size) > 400


def test_without_options_the_masks_are_those_of_a_run_without_options(tmp_path, capsys):
    openjepa.masks(out=tmp_path / "masks.png")
    assert capsys.readouterr().out.startswith("random masks on 8x8 patches")
    openjepa.masks(recipe="paper", out=tmp_path / "masks.png")
    assert capsys.readouterr().out.startswith("multiblock masks on 14x14 patches")


def test_reference_masks_show_their_faults(tmp_path, capsys):
    openjepa.masks(image_size="96", patch_size=8, masks="reference", batch_size=32, out=tmp_path / "masks.png")
    said = capsys.readouterr().out
    assert "23 patches as context, 23 as target" in said
    assert "as many as the shortest of 32 images has" in said


def test_masks_are_drawn_on_the_image_given(tmp_path):
    Image.new("RGB", (50, 40), (250, 10, 60)).save(tmp_path / "red.png")
    openjepa.masks(image=tmp_path / "red.png", context_ratio=0.25, out=tmp_path / "masks.png")
    picture = np.asarray(Image.open(tmp_path / "masks.png"))
    red = (picture == (250, 10, 60)).all(-1).sum()
    assert red == 8 * 16 * (4 * 7) ** 2  # eight drawings, 16 context patches of 4 pixels, enlarged seven times


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--patch-size", "5"], "patch size 5: give --image-size 30, or --patch-size 4"),
        (["--masks", "multiblock", "--context-ratio", "0.9"], "--context-ratio 0.25"),
        (["--image-size", "4"], "2x2"),
        (["--masks", "blok"], "did you mean block?"),
        (["--image", "nothing.jpg"], "nothing.jpg cannot be read"),
        (["--image", "words.png"], "words.png cannot be read"),
        (["--out", "masks.jpg"], ".png"),
        (["--out", "words.png/masks.png"], "nothing can be written below it"),
        (["--batch-size", "1000000000"], "give 262,144 or less"),
        (["--lr", "1"], "--lr"),
    ],
)
def test_impossible_settings_write_nothing(words, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "words.png").write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["openjepa", "masks", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.count("\n") == 1 and said in err
    assert [path.name for path in tmp_path.iterdir()] == ["words.png"]


def test_a_setting_of_training_is_refused(tmp_path):
    with pytest.raises(openjepa.UsageError, match="setting lr is not known"):
        openjepa.masks(lr=0.1, out=tmp_path / "masks.png")
