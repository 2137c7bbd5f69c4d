"""A run is looked into at any kept step, also while it trains, without its lock."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch

import openjepa
from openjepa.errors import UsageError
from openjepa.files.lock import locked
from openjepa.runs.checkpoints import checkpoint_source, find_step
from openjepa.training.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint

SMALL = {"image_size": 16, "batch_size": 8, "workers": 0, "steps": 6, "precision": "float32", "keep_every": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of six steps with the checkpoints of steps 2, 4 and 6."""
    out = tmp_path_factory.mktemp("checkpoints") / "run"
    return openjepa.pretrain("scenes:60", out=out, recipe="laptop", log_every=1, device="cpu", **SMALL)


def vectors(path):
    return torch.tensor(pq.read_table(path)["vector"].to_pylist())


def test_the_last_step_is_the_encoder_of_the_finished_run(run, tmp_path):
    kept = {name: vectors(openjepa.embed(run, "scenes:8", out=tmp_path / f"{name}.parquet", step=step, device="cpu"))
            for name, step in {"artifact": None, "last": "last", "six": 6, "two": 2}.items()}  # fmt: skip
    assert torch.equal(kept["artifact"], kept["last"]) and torch.equal(kept["last"], kept["six"])
    assert not torch.allclose(kept["two"], kept["six"], atol=1e-4)


def test_a_step_is_what_its_checkpoint_holds(run):
    source = checkpoint_source(run, "4")
    tensors, _ = load_checkpoint(checkpoint_path(run / "checkpoints", 4))
    for name, network in (("target_encoder", source.target), ("context_encoder", source.context)):
        for key, value in network.state_dict().items():
            assert torch.equal(value, tensors[f"model.{name}.{key}"])
    assert source.about["step"] == 4 and source.predictor


def test_best_names_its_monitor_where_there_are_several(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    tensors, state = load_checkpoint(checkpoint_path(copy / "checkpoints", 6))
    about = state.model_dump(exclude={"sha256", "state_sha256", "step"}) | {"best": {"rank": (9.0, 2), "knn": (0.5, 4)}}
    save_checkpoint(copy / "checkpoints", 6, tensors, about)
    assert find_step(copy, "best-rank") == 2 and find_step(copy, "best-knn") == 4
    with pytest.raises(UsageError, match=r"could be one of several: give best-rank \(step 2\), best-knn \(step 4\)"):
        find_step(copy, "best")
    with pytest.raises(UsageError, match=r"--step best-loss is not known for .*: known are best-rank"):
        find_step(copy, "best-loss")
    save_checkpoint(copy / "checkpoints", 6, tensors, about | {"best": {"rank": (9.0, 2)}})
    assert find_step(copy, "best") == 2


@pytest.mark.parametrize(
    ("step", "said"),
    [(3, "step 3 of .* is not kept: kept are 2, 4, 6; a run with --keep-every 100"), ("-1", "is not a step"),
     ("first", "is not a step: give a number, last, best or best-MONITOR"), ("6.0", "is not a step")],
)  # fmt: skip
def test_what_is_no_kept_step_is_refused(run, tmp_path, step, said):
    with pytest.raises(UsageError, match=said):
        openjepa.embed(run, "scenes:8", out=tmp_path / "v.parquet", step=step)


def test_only_runs_have_steps(run, tmp_path):
    for name in (run / "encoder", tmp_path / "nothing"):
        with pytest.raises(UsageError, match="--step 2 needs the folder of a run"):
            openjepa.embed(name, "scenes:8", out=tmp_path / "v.parquet", step=2)


def test_a_damaged_checkpoint_is_refused(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    with (checkpoint_path(copy / "checkpoints", 4) / "state.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(UsageError, match=r"step-00000004 is damaged: .*: name another step"):
        checkpoint_source(copy, 4)
    assert checkpoint_source(copy, "last").about["step"] == 6


def test_a_run_that_trains_is_measured_reported_and_exported(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("encoder*", "report.html"))
    with locked(copy):
        records = openjepa.evaluate([copy, "pixels"], "scenes:60", tasks="knn", step=4, workers=0, device="cpu")
        assert f"{copy} (step 4)" in {record["model"] for record in records}
        assert json.loads((copy / "evaluation-step-00000004.json").read_text()) == records
        page = openjepa.report(copy, step=4, device="cpu")
        folder = openjepa.export(copy, to="hf", step=4)
    text = page.read_text()
    assert page.name == "report-step-00000004.html" and "Of step 4 of 6." in text
    assert folder == copy / "export-hf-step-00000004" and (folder / "model.safetensors").exists()
    source = openjepa.load_encoder(folder).network.state_dict()
    assert all(torch.equal(value, source[key]) for key, value in checkpoint_source(copy, 4).target.state_dict().items())
    assert not (copy / "evaluation.json").exists() and not (copy / "report.html").exists()
