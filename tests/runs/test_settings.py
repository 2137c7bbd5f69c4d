"""config.json is read back as it was written; whatever else it holds is one line that names the file and the field."""

import json

import pytest

import openjepa
from openjepa.errors import UsageError
from openjepa.runs.resuming.resume import check_recipe
from openjepa.runs.settings import read_config

SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "steps": 2, "precision": "float32"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps."""
    return openjepa.pretrain("scenes:40", out=tmp_path_factory.mktemp("settings") / "run", recipe="laptop", **SMALL)


@pytest.fixture
def edited(run, tmp_path):
    """Writes the config.json of that run with changes of parts of it, and gives its path."""

    def write(change):
        content = json.loads((run / "config.json").read_text())
        for name, value in change.items():
            *above, last = name.split(".")
            part = content
            for step in above:
                part = part[step]
            part[last] = value
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": [15]}, "schema_version is a list"),
        ({"schema_version": True}, "schema_version is "),
        ({"steps": 0}, "steps is 0"),
        ({"steps": "5"}, "steps is 5"),
        ({"steps": 10**100}, "steps is 1000"),
        ({"mean": []}, "mean is a list"),
        ({"mean": [0.5]}, "mean and std"),
        ({"std": [0.1, -1.0, 0.1]}, "std.1 is -1.0"),
        ({"std": [0.1, float("nan"), 0.1]}, "std: numbers must be finite"),
        ({"data": 5}, "data is 5"),
        ({"found": {}}, "found.source is missing"),
        ({"found.images": -3}, "found.images is -3"),
        ({"found.sizes": []}, "found.sizes is a list"),
        ({"found.sizes": [[0, 5, 1]]}, "found.sizes.0.0 is 0"),
        ({"pixel_format.values": "float"}, "pixel_format.values is float"),
        ({"pixel_format.channels": 10**9}, "channels"),
        ({"command": None}, "command is null"),
        ({"settings": []}, "settings is a list"),
        ({"settings.batch_size": 0}, "--batch-size 0 is not possible"),
        ({"settings.batch_size": "8"}, "--batch-size '8' is not possible"),
        ({"settings.lr": None}, "--lr None is not possible"),
        ({"settings.crop_scale": [0.5]}, "--crop-scale 0.5 is not possible"),
        ({"settings.masks": 7}, "--masks 7 is not possible"),
        ({"settings.clip_grad": float("inf")}, "numbers must be finite"),
        ({"settings.init": "weights"}, "networks is missing, which a run with --init has"),
        ({"settings.new_setting": 1}, "has the unknown setting new_setting, written by openjepa"),
        ({"schema_version": 0}, "schema_version is 0"),
        ({"schema_version": "14"}, "schema_version is 14"),
        ({"schema_version": 99}, "has the layout 99 of openjepa"),
        ({"openjepa_version": "9.9.9"}, "was written by openjepa 9.9.9, which is newer than this one"),
    ],
)
def test_what_is_wrong_is_named(edited, change, said):
    path = edited(change)
    with pytest.raises(UsageError) as caught:
        read_config(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and said in text and "\n" not in text


def test_unknown_fields_beside_the_settings_are_no_error(edited, run):
    assert read_config(edited({"more": 1}))[0] == read_config(run / "config.json")[0]


def test_another_recipe_is_not_ignored_by_resume(run):
    with pytest.raises(UsageError, match="was started with --recipe laptop, not paper: leave it out to resume"):
        openjepa.pretrain("scenes:40", out=run, resume=True, recipe="paper")
    stored = read_config(run / "config.json")[0]
    for named in ("laptop", None):
        check_recipe(run, stored, named, None)
    with pytest.raises(UsageError, match=r"was started with --\S+ .*, and --recipe paper has"):
        check_recipe(run, stored, None, "paper")  # a run that states no recipe is known by its settings


def test_what_has_not_changed_can_be_given_again(run):
    again = {"precision": "auto", "recipe": "laptop", "batch_size": 8, "image_size": "16"}
    assert openjepa.pretrain("scenes:40", out=run, resume=True, **again) == run
    with pytest.raises(UsageError, match="--precision float32, not bf16"):
        openjepa.pretrain("scenes:40", out=run, resume=True, precision="bf16")


def test_the_report_of_a_run_on_the_cpu_uses_the_cpu(run, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "openjepa.runs.folder.load_encoder_at", lambda folder, step, device, precision, **_: asked.append(device)
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for device in ("cpu", "cpu:0"):
        content = json.loads((run / "config.json").read_text())
        content["settings"]["device"] = device
        (run / "config.json").write_text(json.dumps(content))
        openjepa.runs.folder.read_run_folder(run)
    openjepa.report(run, device="cpu")
    assert [device.type for device in asked] == ["cpu", "cpu", "cpu"]


@pytest.mark.usefixtures("reports")
def test_the_report_of_a_run_that_is_resumed_on_the_cpu_uses_the_cpu(run, monkeypatch):
    asked = []
    monkeypatch.setattr("openjepa.commands.report.report", lambda out, data, device="auto", **_: asked.append(device))
    openjepa.pretrain("scenes:40", out=run, resume=True, device="cpu")
    assert asked == ["cpu"]
