"""Fetching, resuming, checking and pushing, against a fake on the loopback."""

import json

import pytest
import torch
from support.exports import export_to
from support.hub_fake import Hub

import openjepa
from openjepa.encoder.baselines import seeded
from openjepa.errors import UsageError
from openjepa.interop.hub import fetch_file
from openjepa.interop.load import load_encoder, open_source
from openjepa.interop.loaded_weights import IMAGENET_MEAN, IMAGENET_STD, Source
from openjepa.models.resize import weights_of


def source():
    network = seeded(0, image_size=(32, 32), patch_size=8, embed_dim=48, depth=2, num_heads=4)
    return Source("ours", "openjepa", IMAGENET_MEAN, IMAGENET_STD, target=network)


def files_of(folder, to="hf"):
    export_to(to, folder, source())
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "openjepa.json"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = Hub(files_of(tmp_path / "made"))
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("OPENJEPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what is kept of a broken download
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the Hub is on the loopback
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its own tries
    yield server
    server.shutdown()
    server.server_close()


def same(encoder):
    return all(
        torch.equal(a, b)
        for a, b in zip(weights_of(encoder).values(), weights_of(source().target).values(), strict=True)
    )


def test_a_model_of_the_hub_is_fetched_once_and_checked_ever_after(hub, tmp_path, monkeypatch):
    openjepa.import_("lab/model", tmp_path / "here")
    assert same(load_encoder(tmp_path / "here").network)
    record = json.loads((tmp_path / "cache/hub/lab/model.record.json").read_text())
    weights = record["files"]["model.safetensors"]
    assert weights["size"] == len(hub.files["model.safetensors"]) and len(weights["sha256"]) == 64
    hub.ranges.clear()
    assert same(open_source("lab/model").target) and not hub.ranges
    path = tmp_path / "cache/hub/lab/model/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UsageError, match="not the file that was first fetched"):
        open_source("lab/model")
    path.unlink()
    assert same(open_source("lab/model").target)


def test_a_model_of_the_hub_goes_on_where_it_broke_off(hub):
    hub.cut = 5000
    with pytest.raises(UsageError, match=r"could not be fetched .*the download resumes where it stopped"):
        open_source("lab/model")
    hub.cut = None
    hub.ranges.clear()
    assert same(open_source("lab/model").target)
    assert dict(hub.ranges)["model.safetensors"] >= 5000


def test_without_a_network_the_message_says_where_files_go(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    place = tmp_path / "cache/hub/lab/model"
    with pytest.raises(
        UsageError, match=f"could not be fetched.*put config.json and model.safetensors .* into {place}"
    ):
        openjepa.import_("lab/model", tmp_path / "here")
    assert not (tmp_path / "here").exists()
    place.mkdir(parents=True, exist_ok=True)
    for name, content in hub.files.items():
        (place / name).write_bytes(content)
    assert same(open_source("lab/model").target)


def test_a_file_goes_on_where_it_broke_off(hub, tmp_path, shared):
    published = (shared / "parity/official_tiny.pth.tar").read_bytes()
    hub.files["official_tiny.pth.tar"], hub.cut = published, 5000
    url = f"{hub.address}/official_tiny.pth.tar"
    with pytest.raises(UsageError, match="could not be fetched"):
        fetch_file(url)
    hub.cut = None
    hub.ranges.clear()
    path = fetch_file(url)
    assert path.read_bytes() == published and dict(hub.ranges)["official_tiny.pth.tar"] >= 5000
    assert open_source(str(path), num_heads=4).predictor


def test_timm_names_bring_both_encoders_where_the_published_file_is_what_they_mean(hub, tmp_path, shared, monkeypatch):
    import timm

    hub.files["official_tiny.pth.tar"] = (shared / "parity/official_tiny.pth.tar").read_bytes()
    config = timm.get_pretrained_cfg("vit_huge_patch14_gap_224.in1k_ijepa")
    config.url = f"{hub.address}/official_tiny.pth.tar"
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: config)
    monkeypatch.setattr("openjepa.interop.weights.from_tensors.HEADS", {48: 4})
    found = open_source("vit_huge_patch14_gap_224.in1k_ijepa")
    assert found.target and found.context and found.predictor and found.licence == "cc-by-nc-4.0"
    config.url, config.hf_hub_id = None, "lab/model"
    hub.files = files_of(tmp_path / "timm", "timm")
    assert same(open_source("vit_huge_patch14_gap_224.in1k_ijepa").target)


def test_push(hub, tmp_path):
    (tmp_path / "artifact").mkdir()
    export_to("hf", tmp_path / "artifact", source())
    folder = openjepa.export(tmp_path / "artifact", to="hub:lab/model", licence="apache-2.0")
    assert hub.created == ["model"]
    assert hub.pushed.keys() >= {"README.md", "config.json", "model.safetensors", "openjepa.json", "comparison.json"}
    assert hub.pushed["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert b"license: apache-2.0" in hub.pushed["README.md"]


def test_a_push_that_failed_is_tried_again_by_the_same_command(hub, tmp_path, monkeypatch):
    (tmp_path / "artifact").mkdir()
    export_to("hf", tmp_path / "artifact", source())
    push = {"to": "hub:lab/model", "licence": "mit"}
    with monkeypatch.context() as patch:
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(UsageError, match=r"not pushed .*the same command pushes it"):
            openjepa.export(tmp_path / "artifact", **push)
    card = tmp_path / "artifact/export-hf/README.md"
    card.write_text(card.read_text() + "More about it.\n")
    with pytest.raises(UsageError, match="holds an earlier output: give --out another name"):
        openjepa.export(tmp_path / "artifact", **push | {"licence": "apache-2.0"})
    openjepa.export(tmp_path / "artifact", **push)
    assert hub.pushed["README.md"].endswith(b"More about it.\n")


def test_a_mistyped_path_is_not_looked_for_on_the_hub(hub, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="runs/phots does not exist"):
        load_encoder("runs/phots")
    assert not hub.ranges
