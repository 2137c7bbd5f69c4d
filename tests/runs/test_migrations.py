"""Files of every earlier layout of config.json are read as what their runs did. Each was written by a commit of it."""

import copy
import dataclasses
import json
from pathlib import Path

import pytest

from openjepa._version import __version__
from openjepa.config import Config, normal
from openjepa.errors import UsageError
from openjepa.renamed import RENAMED
from openjepa.runs.migrations import SCHEMA_VERSION, VERSIONS, defaults_of, migrated, version_of
from openjepa.runs.settings import read_config

STORED = json.loads((Path(__file__).parent / "stored_configs.json").read_text())
DROPPED = {"patch_init", "target_norm"}
READABLE = [commit for commit, content in STORED.items() if "target_norm" not in content["settings"]]
# What runs did that were stored without a setting; all that is not named here was "off", or the images decided.
BEFORE = {
    "teacher": None, "views": None,
    "method": "ijepa", "optimizer": "adamw", "weight_init": "published", "target_sequences": "separate",
    "masks_per_image": 1, "max_stretch": 0.0, "max_skipped": 1.0, "init": None, "init_freeze": 0.1, "pages": "first",
    "channels": None, "accumulate": 1, "checkpoint_activations": False, "compile": False, "any_orientation": False,
    "horizontal_flip": False, "cuda_graph": False, "labels": True, "deterministic": False,
}  # fmt: skip


def stored(path, commit, **changes):
    content = copy.deepcopy(STORED[commit])
    content["settings"] |= changes
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("commit", READABLE)
def test_every_earlier_layout_is_read_as_what_its_run_did(tmp_path, commit):
    before, content = copy.deepcopy(STORED[commit]), STORED[commit]
    config, run = read_config(stored(tmp_path / "config.json", commit))
    found = dataclasses.asdict(config)
    written = {RENAMED.get(name, name): value for name, value in content["settings"].items() if name not in DROPPED}
    assert {name: found[name] for name in written} == {name: normal(name, value) for name, value in written.items()}
    assert {name: found[name] for name in found.keys() - written} == {
        name: BEFORE[name] for name in found.keys() - written
    }
    assert run.steps == 2 and run.schema_version == SCHEMA_VERSION and run.read_as.channels == 3
    assert (run.segments, run.monitored, run.probe) == ([], 256, None)
    migrated(content)
    assert content == before  # pure
    assert migrated(migrated(content)) == migrated(content)


def test_every_version_without_a_number_has_a_file():
    found = {version_of(migrated_names(content)) for content in STORED.values()}
    assert found >= VERSIONS.keys() - {SCHEMA_VERSION, 7, 8}  # reached by merging branches


def migrated_names(content):
    return {**content, "settings": {RENAMED.get(name, name): value for name, value in content["settings"].items()}}


@pytest.mark.parametrize(
    ("commit", "name", "default"),
    [("f958620", "lr", 1.5e-3), ("f958620", "batch_size", 256), ("f958620", "masks", "multiblock"),
     ("58812de", "lr", 1.5e-3), ("81082ba", "lr", 1e-3), ("81082ba", "weight_decay", (0.05, 0.05)),
     ("78d2cb5", "masks_per_image", 1), ("78d2cb5", "batch_size", 64), ("7422c99", "lr", 5e-4)],
)  # fmt: skip
def test_a_missing_setting_has_the_default_of_the_version_that_wrote_the_file(tmp_path, commit, name, default):
    path = stored(tmp_path / "config.json", commit)
    content = json.loads(path.read_text())
    del content["settings"][name]
    path.write_text(json.dumps(content))
    assert getattr(read_config(path)[0], name) == default


def test_the_defaults_of_this_version_are_those_of_config():
    """Where this fails, a setting or a default was changed: say so in VERSIONS of openjepa.runs.migrations."""
    ours = {name: normal(name, value) for name, value in defaults_of(SCHEMA_VERSION).items()}
    assert ours == dataclasses.asdict(Config())


def test_unknown_settings_are_named_with_the_version_that_wrote_them(tmp_path):
    path = stored(tmp_path / "config.json", "7422c99", foo=1)
    with pytest.raises(UsageError, match=f"unknown setting foo, written by openjepa {__version__}: remove it"):
        read_config(path)
    path.write_text(path.read_text().replace(f'"openjepa_version": "{__version__}"', '"openjepa_version": "9.9"'))
    with pytest.raises(
        UsageError, match=r"config\.json has the unknown setting foo, written by openjepa 9\.9: upgrade"
    ):
        read_config(path)


def test_a_setting_that_was_dropped_and_shaped_runs_is_not_ignored(tmp_path):
    with pytest.raises(UsageError, match="unknown setting target_norm"):
        read_config(stored(tmp_path / "config.json", "de1408e"))
