"""The published checkpoint against its own outputs, and what is not one."""

import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.exports import export_to

import openjepa
from openjepa.errors import UsageError
from openjepa.interop.artifact import load_artifact
from openjepa.interop.load import load_encoder, open_source


@pytest.fixture
def published(shared):
    return shared / "parity/official_tiny.pth.tar"


@pytest.fixture
def content(published):
    return torch.load(published, weights_only=True)


def largest(ours, theirs):
    return (ours - theirs).abs().max().item()


def test_an_import_gives_the_published_outputs(shared, published, tmp_path):
    openjepa.import_(published, tmp_path / "here", num_heads=4)
    io = load_file(shared / "parity/official_tiny_io.safetensors")
    images, context_ids, target_ids = io["images"][0], io["context_ids"][0], io["target_ids"][0]
    with torch.no_grad():
        for source in (open_source(str(published), num_heads=4), load_artifact(tmp_path / "here")):
            assert largest(source.target(images), io["target_encoder_output"]) < 1e-5
            assert largest(source.context(images), io["context_encoder_full_output"]) < 1e-5
            seen = source.context(images, context_ids)
            assert largest(source.predictor(seen, context_ids, target_ids), io["predictor_output"]) < 1e-5


@pytest.mark.parametrize("which", ["target", "context"])
def test_which_decides_the_encoder_that_others_open(content, published, tmp_path, which):
    openjepa.import_(published, tmp_path / "here", num_heads=4, which=which)
    part = {"target": "target_encoder", "context": "encoder"}[which]
    theirs = content[part]["module.blocks.1.mlp.fc1.weight"]
    assert torch.equal(
        load_file(tmp_path / "here/model.safetensors")["encoder.layer.1.intermediate.dense.weight"], theirs
    )
    assert torch.equal(load_encoder(tmp_path / "here", which=which).network.blocks[1].mlp.fc1.weight, theirs)
    with pytest.raises(UsageError, match="--which teacher is not known: known are target, context"):
        load_encoder(tmp_path / "here", which="teacher")


def test_there_and_back_gives_equal_tensors(content, published, tmp_path):
    openjepa.import_(published, tmp_path / "here", num_heads=4)
    (tmp_path / "back").mkdir()
    export_to("official", tmp_path / "back", load_artifact(tmp_path / "here"), predictor=True)
    back = torch.load(tmp_path / "back/checkpoint.pth.tar", weights_only=True)
    for part in ("encoder", "target_encoder", "predictor"):
        assert back[part].keys() == content[part].keys()
        assert all(torch.equal(back[part][name], value) for name, value in content[part].items())


def test_licence_and_preprocessing_come_along(published, tmp_path, capsys):
    openjepa.import_(published, tmp_path / "here", num_heads=4)
    source = load_artifact(tmp_path / "here")
    assert source.licence == "cc-by-nc-4.0" and "cc-by-nc-4.0" in capsys.readouterr().out
    assert source.mean == [0.485, 0.456, 0.406] and source.std == [0.229, 0.224, 0.225]


def test_heads_that_nothing_tells_are_asked_for(published):
    with pytest.raises(UsageError, match=r"48 wide and the tensors do not state how many heads.*give --num-heads"):
        open_source(str(published))
    with pytest.raises(UsageError, match="5 heads do not divide"):
        open_source(str(published), num_heads=5)


class RunsCode:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def harmed(content, harm, mark):
    """What a person may be handed instead of the checkpoint."""
    encoder = content["encoder"]
    if harm == "no predictor":
        del content["predictor"]
    elif harm == "missing":
        del encoder["module.blocks.1.attn.qkv.bias"]
    elif harm == "extra":
        encoder["module.blocks.1.ls1.gamma"] = torch.ones(48)
    elif harm == "misshapen":
        encoder["module.norm.weight"] = torch.ones(47)
    elif harm == "nan":
        encoder["module.blocks.2.mlp.fc1.weight"][3, 3] = float("nan")
    elif harm == "two shapes":
        for name, value in content["target_encoder"].items():
            content["target_encoder"][name] = {"fc1.weight": value[:96], "fc1.bias": value[:96]}.get(
                name.split("mlp.")[-1], value[:, :96] if name.endswith("fc2.weight") else value
            )
    elif harm == "infinite positions":
        encoder["module.pos_embed"][0, 0, 0] = float("inf")
    elif harm == "code":
        content["encoder"] = RunsCode(mark)
    elif harm == "numbers":
        content = {"encoder": 3, "target_encoder": 3, "predictor": 3}
    elif harm == "foreign":
        content = torch.nn.Linear(3, 3).state_dict()
    elif harm == "a list":
        content = [1, 2]
    return content


HARMS = {
    "no predictor": "half a checkpoint, it lacks predictor",
    "missing": r"missing: blocks\.1\.attn\.qkv\.bias",
    "extra": r"extra: blocks\.1\.ls1\.gamma",
    "misshapen": r"misshapen: norm\.weight \[47\] and not \[48\]",
    "nan": r"not finite: blocks\.2\.mlp\.fc1\.weight",
    "two shapes": "has two encoders of different shapes",
    "infinite positions": "not finite: pos_embed",
    "code": "asks to run code .*posix.system",
    "numbers": "not a set of named tensors",
    "foreign": "no vision transformer that we know",
    "a list": "holds list, not weights",
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_does_not_fit_is_refused_and_nothing_is_written(content, tmp_path, harm):
    path, mark = tmp_path / "given.pth.tar", tmp_path / "owned"
    torch.save(harmed(content, harm, mark), path)
    with pytest.raises(UsageError, match=HARMS[harm]):
        openjepa.import_(path, tmp_path / "here", num_heads=4)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 3000, -2000])
@pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors"])
def test_truncated_files_are_refused(published, content, tmp_path, kept, suffix):
    path = tmp_path / f"given{suffix}"
    if suffix == ".safetensors":
        save_file(content["encoder"], path)
    else:
        path.write_bytes(published.read_bytes())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UsageError, match="damaged"):
        openjepa.import_(path, tmp_path / "here", num_heads=4)
    assert list(tmp_path.iterdir()) == [path]


def test_a_bare_pickle_that_wants_code_is_refused(tmp_path):
    path = tmp_path / "given.pth"
    path.write_bytes(pickle.dumps({"encoder": RunsCode(tmp_path / "owned")}, protocol=2))
    with pytest.raises(UsageError, match=r"asks to run code .*posix.system"):
        openjepa.import_(path, tmp_path / "here")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_use_and_a_file_of_no_kind(published, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="not empty: give DST another name"):
        openjepa.import_(published, tmp_path / "used", num_heads=4)
    for name in (".", "", "here/.."):
        with pytest.raises(UsageError, match="does not name a folder to make: give DST another name"):
            openjepa.import_(published, name, num_heads=4)
    with pytest.raises(UsageError, match=r"cannot read .*File name too long"):
        openjepa.import_("x" * 300, tmp_path / "here")
    with pytest.raises(UsageError, match="--image-size 96000 is not a size"):
        openjepa.import_(published, tmp_path / "here", num_heads=4, image_size=96_000)
    with pytest.raises(UsageError, match="channels is 1000000000"):
        openjepa.import_(published, tmp_path / "here", num_heads=4, channels=10**9)
    (tmp_path / "weights.zip").write_text("precious")
    with pytest.raises(UsageError, match=r"not a weights file: give \.safetensors"):
        openjepa.import_(tmp_path / "weights.zip", tmp_path / "here")
