"""Settings under their old names: typed ones are accepted with a notice, stored ones are read silently."""

import json
import sys
from dataclasses import asdict

import pytest

import openjepa
from openjepa.cli import main
from openjepa.data.decoding.pixel_format import PixelFormat, stored_pixel_format
from openjepa.interop.load import load_encoder
from openjepa.renamed import RENAMED, given_names, given_options
from openjepa.runs.settings import read_config
from openjepa.training.monitoring.metrics_log import read_metrics

SMALL = {"image_size": 16, "steps": 2, "batch_size": 4, "workers": 0, "log_every": 1}
NOTICE = "openjepa: --objective is now --method; the old name goes away in the next version\n"


def test_old_keywords_are_accepted_with_a_notice(capsys):
    assert given_names({"objective": "mae", "method": None, "lr": 1e-3}) == {"method": "mae", "lr": 1e-3}
    assert capsys.readouterr().err == NOTICE
    assert given_names({"method": "mae"}) == {"method": "mae"} and not capsys.readouterr().err
    with pytest.raises(openjepa.UsageError, match="--objective is now --method: give one of them"):
        given_names({"objective": "mae", "method": "ijepa"})


def test_old_options_are_accepted_with_a_notice(capsys):
    words = ["pretrain", "photos", "--objective", "mae", "--mask-draws=2", "--lr", "1"]
    assert given_options(words) == ["pretrain", "photos", "--method", "mae", "--masks-per-image=2", "--lr", "1"]
    assert capsys.readouterr().err.count("goes away in the next version\n") == 2


def test_processes_beside_the_first_give_no_notice(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert given_names({"objective": "mae"}) == {"method": "mae"} and not capsys.readouterr().err


def test_the_command_line_and_the_function_take_old_names(tmp_path, monkeypatch, capsys):
    words = ["openjepa", "masks", "--masks", "block", "--target-aspect", "0.5", "2", "--out", str(tmp_path / "a.png")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0 and "--target-aspect is now --target-aspect-ratio;" in capsys.readouterr().err
    openjepa.masks(masks="block", target_aspect=(0.5, 2.0), out=tmp_path / "b.png")
    assert "--target-aspect is now --target-aspect-ratio;" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_stored_settings_are_read_silently(photos, tmp_path, capsys):
    openjepa.pretrain(photos, out=tmp_path / "run", method="mae", masks_per_image=2, **SMALL)
    path = tmp_path / "run" / "config.json"
    now = read_config(path)
    older(path)
    capsys.readouterr()
    assert "objective" in path.read_text() and "reading" in path.read_text()
    assert read_config(path)[0] == now[0]
    assert read_config(path)[1].read_as == now[1].read_as
    assert not capsys.readouterr().err


def older(path):
    """Rewrite the names in a JSON file, or a file of JSON lines, as the version before wrote them."""
    text = path.read_text().replace('"positional_fraction"', '"positional_share"')
    text = text.replace('"pixel_format"', '"reading"')
    for old, new in RENAMED.items():
        text = text.replace(f'"{new}"', f'"{old}"')
    path.write_text(text)


def test_a_run_of_the_version_before_resumes_and_loads(photos, tmp_path):
    openjepa.pretrain(photos, out=tmp_path / "run", **SMALL)
    for name in ("config.json", "metrics.jsonl", "encoder/openjepa.json"):
        older(tmp_path / "run" / name)
    for state in (tmp_path / "run" / "checkpoints").glob("*/state.json"):
        assert "positional_fraction" in state.read_text()
    assert "positional_fraction" in read_metrics(tmp_path / "run")[0]
    assert load_encoder(tmp_path / "run").pixel_format == PixelFormat()
    openjepa.pretrain(photos, out=tmp_path / "run", resume=True)
    openjepa.report(tmp_path / "run")


def test_stored_pixel_formats():
    grey = PixelFormat(1, "unit")
    assert stored_pixel_format({"pixel_format": asdict(grey)}) == stored_pixel_format({"reading": asdict(grey)}) == grey
    assert stored_pixel_format(json.loads("{}")) is None
