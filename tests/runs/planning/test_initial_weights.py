"""--init: going on from weights that are there, with what the source has and a fresh predictor where it has none."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import openjepa
from openjepa.errors import UsageError
from openjepa.interop.load import open_source
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.monitoring.verdict import verdict

SMALL = {"batch_size": 8, "workers": 0, "log_every": 1, "precision": "float32"}


@pytest.fixture
def imported(shared, tmp_path):
    return openjepa.import_(shared / "parity/official_tiny.pth.tar", tmp_path / "imported", num_heads=4)


def without_predictor(folder):
    (folder / "predictor.safetensors").unlink()
    return folder


def tensors(run, step):
    return load_file(run / f"checkpoints/step-{step:08d}/state.safetensors")


def test_all_three_networks_go_on(imported, photos, tmp_path, capsys):
    still = {"lr": 1e-9, "lr_end": 0, "ema_momentum": (1, 1)}
    openjepa.pretrain(photos, out=tmp_path / "run", init=str(imported), steps=2, **still, **SMALL)
    assert "starts from" in capsys.readouterr().out
    first, last = open_source(str(imported)), open_source(str(tmp_path / "run"))
    for part in ("target", "context", "predictor"):
        pairs = zip(getattr(first, part).parameters(), getattr(last, part).parameters(), strict=True)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    assert last.mean == first.mean and last.licence == "cc-by-nc-4.0"
    stored = json.loads((tmp_path / "run/config.json").read_text())["settings"]
    assert (stored["patch_size"], stored["image_size"], stored["predictor_depth"], stored["lr"]) == (8, "64", 2, 1e-9)


def test_a_fresh_predictor_learns_alone_first(imported, photos, tmp_path):
    settings = SMALL | {"steps": 4, "init_freeze": 0.5, "keep_every": 1, "predictor_dim": 16, "predictor_heads": 2}
    openjepa.pretrain(photos, out=tmp_path / "run", init=str(without_predictor(imported)), **settings)
    states = {step: tensors(tmp_path / "run", step) for step in range(1, 5)}
    stem, mask = "model.context_encoder.patch_embed.proj.weight", "model.predictor.mask_token"
    start = open_source(str(imported)).context.patch_embed.proj.weight
    assert torch.equal(states[1][stem], start) and torch.equal(states[2][stem], start)
    assert not torch.equal(states[3][stem], start)
    assert not torch.equal(states[1][mask], states[2][mask])


@pytest.mark.parametrize("method", ["mae", "hybrid"])
def test_a_predictor_of_pixels_does_not_go_on(method, photos, tmp_path):
    size = {"image_size": "32", "patch_size": 8, "model": "vit_micro", "steps": 1}  # 192 wide, as 3 * 8 * 8 pixels
    openjepa.pretrain(photos, out=tmp_path / "first", method=method, **size, **SMALL)
    openjepa.pretrain(photos, out=tmp_path / "run", init=str(tmp_path / "first"), steps=4, predictor_dim=32, **SMALL)
    predictor = open_source(str(tmp_path / "run")).predictor
    assert (predictor.embed.out_features, predictor.proj.out_features) == (32, 192)


def test_resume_is_the_undisturbed_run(imported, photos, tmp_path, monkeypatch):
    from openjepa.training.loop import TrainingRun

    settings = SMALL | {"steps": 5, "init_freeze": 0.5, "keep_every": 1, "init": str(without_predictor(imported))}
    openjepa.pretrain(photos, out=tmp_path / "whole", **settings)
    record = TrainingRun._record

    def stop_at_two(self, step, *rest):
        if step == 2:
            raise KeyboardInterrupt
        return record(self, step, *rest)

    monkeypatch.setattr(TrainingRun, "_record", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        openjepa.pretrain(photos, out=tmp_path / "cut", **settings)
    monkeypatch.undo()
    for path in imported.iterdir():
        path.unlink()  # a run needs its source no more once it has begun
    openjepa.pretrain(photos, out=tmp_path / "cut", resume=True)
    whole, cut = tensors(tmp_path / "whole", 5), tensors(tmp_path / "cut", 5)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_another_resolution_keeps_the_extent(imported, photos, tmp_path):
    openjepa.pretrain(photos, out=tmp_path / "run", init=str(imported), image_size="48x96", steps=1, **SMALL)
    network = open_source(str(tmp_path / "run")).target
    assert network.grid_size == (6, 12) and network.native_size == (8, 8)


def test_what_the_source_decides_cannot_be_asked_for(imported, photos, tmp_path):
    for name, value in (("patch_size", 4), ("predictor_dim", 32)):
        with pytest.raises(UsageError, match=f"has --{name.replace('_', '-')} .*, not {value}: leave it out"):
            openjepa.pretrain(photos, out=tmp_path / "run", init=str(imported), **{name: value}, **SMALL)
    with pytest.raises(UsageError, match="does not exist"):
        openjepa.pretrain(photos, out=tmp_path / "run", init=str(tmp_path / "nothing"), **SMALL)
    assert not (tmp_path / "run").exists()


def test_the_rank_guard_speaks_at_any_time_and_keeps_the_import(imported, photos, tmp_path):
    now = {"rank": 7.0, "std": 1.0, "positional_fraction": 0.1, "energy_gap": 0.5, "ema_distance": 0.1}
    before = now | {"rank": 10.0}
    assert verdict(now, before, 0.05, imported=True)[0] == "forgetting"
    assert verdict(now, before, 0.05)[0] == "early"
    assert verdict(now | {"rank": 9.0}, before, 0.2, imported=True)[0] == "healthy"
    settings = SMALL | {"steps": 6, "lr": 0.3, "clip_grad": 1.0, "ema_momentum": (0.0, 0.0), "masks_per_image": 1}
    openjepa.pretrain(photos, out=tmp_path / "run", init=str(imported), **settings)
    last = read_metrics(tmp_path / "run")[-1]
    assert last["status"] in ("forgetting", "collapsed")
    kept = open_source(str(tmp_path / "run/encoder-best-rank"))
    assert torch.equal(kept.target.patch_embed.proj.weight, open_source(str(imported)).target.patch_embed.proj.weight)


def test_a_predictor_of_other_numbers_does_not_go_on(imported, photos, tmp_path):
    path, facts = imported / "predictor.safetensors", imported / "openjepa.json"
    weights, about = load_file(path), json.loads(facts.read_text())
    save_file(weights | {"proj.weight": weights["proj.weight"][:5], "proj.bias": weights["proj.bias"][:5]}, path)
    facts.write_text(json.dumps(about | {"predictor": about["predictor"] | {"out_dim": 5}}))
    openjepa.pretrain(photos, out=tmp_path / "run", init=str(imported), steps=1, predictor_dim=16, **SMALL)
    assert open_source(str(tmp_path / "run")).predictor.proj.out_features == 48
