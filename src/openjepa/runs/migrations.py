"""Versions of config.json: what each changed, and files of all earlier ones as the present one would have been written.

From version 15 on a file states its `schema_version`. Earlier ones are recognised by the settings that they hold.

To add, rename or drop a setting: add an entry to VERSIONS, or before a release to its last entry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openjepa.renamed import current_names

Content = dict[str, Any]


def _same(content: Content) -> Content:
    return content


@dataclass(frozen=True)
class Version:
    """What a version of config.json changed. All settings are under the names that they have now.

    marks      settings or fields, one of which is in every file of this version and of none before
    before     settings that are new in it, with the value that means what runs before it did
    defaults   defaults that are new or other than in the version before
    convert    what else turns a file of the version before into one of this
    """

    marks: tuple[str, ...]
    before: Content = field(default_factory=dict)
    defaults: Content = field(default_factory=dict)
    convert: Callable[[Content], Content] = _same


def split_weight_init(content: Content) -> Content:
    """`patch_init`, of the patch embedding alone, became `weight_init` of all weights, then of published scale."""
    settings = {name: value for name, value in content["settings"].items() if name != "patch_init"}
    return {**content, "settings": settings}


def rename_reading(content: Content) -> Content:
    """`reading` became `pixel_format`; settings are renamed in `migrated`, before anything else."""
    return {("pixel_format" if name == "reading" else name): value for name, value in content.items()}


def add_segments(content: Content) -> Content:
    """A run is a list of segments, none of which is stored while it is as it was started; monitors saw 256 images."""
    return {"segments": [], "monitored": 256, "probe": None} | content


FIRST: Content = {
    "time": "10m", "epochs": None, "steps": None, "model": "vit_nano", "image_size": "32", "patch_size": 4,
    "predictor_dim": 64, "predictor_depth": 2, "predictor_heads": 4, "masks": "multiblock", "num_targets": None,
    "target_scale": None, "target_aspect_ratio": [0.75, 1.5], "context_scale": None, "context_ratio": 0.25,
    "crop_scale": [0.3, 1.0], "batch_size": 256, "lr": 1.5e-3, "lr_start": 0.0, "lr_end": 1e-6, "warmup": 0.1,
    "weight_decay": [0.04, 0.4], "ema_momentum": [0.99, 1.0], "loss": "smooth_l1", "clip_grad": 3.0, "seed": 0,
    "device": "auto", "precision": "auto", "workers": 2, "log_every": 10, "checkpoint_minutes": 5.0, "keep_every": 0,
}  # fmt: skip
TYPICAL_LAPTOP: Content = {
    "predictor_depth": 1, "masks": "random", "context_ratio": 0.15, "masks_per_image": 4, "crop_scale": [0.5, 1.0],
    "batch_size": 16, "lr": 5e-4, "weight_decay": [0.2, 0.2],
}  # fmt: skip
INIT: Content = {"init": None, "init_freeze": 0.1}
DISTRIBUTED: Content = {"accumulate": 1, "checkpoint_activations": False, "compile": False}
LATEST: Content = {"labels": True, "teacher": None, "views": None, "deterministic": False}
CHANNELS: Content = {"channels": None, "pages": "first", "any_orientation": False}

VERSIONS: dict[int, Version] = {
    1: Version((), defaults=FIRST),
    2: Version(("method",), {"method": "ijepa"}, {"method": "ijepa", "masks": None}),
    3: Version(
        ("weight_init",),
        {"weight_init": "published", "optimizer": "adamw"},
        {"weight_init": "unit", "optimizer": "muon"},
        split_weight_init,
    ),
    4: Version(("target_sequences",), {"target_sequences": "separate"}, {"target_sequences": "joint"}),
    5: Version(("init",), INIT, {**INIT, "batch_size": 64, "lr": 1e-3, "weight_decay": [0.05, 0.05]}),
    6: Version(("accumulate",), DISTRIBUTED, DISTRIBUTED),
    7: Version(("masks_per_image",), {"masks_per_image": 1}, {"masks_per_image": 1}),
    8: Version(("max_skipped",), {"max_skipped": 1.0}, {"max_skipped": 0.05}),
    9: Version(("pages",), CHANNELS, CHANNELS),
    10: Version(("horizontal_flip",), {"horizontal_flip": False}, {"horizontal_flip": False, "ema_momentum": None}),
    11: Version(("cuda_graph",), {"cuda_graph": False}, {"cuda_graph": True}),
    12: Version(("pixel_format",), convert=rename_reading),
    13: Version(("max_stretch",), {"max_stretch": 0.0}, {"max_stretch": 0.1, **TYPICAL_LAPTOP}),
    14: Version(("recipe",)),
    15: Version(("schema_version",), LATEST, {**LATEST, "workers": None}, add_segments),
}
SCHEMA_VERSION = max(VERSIONS)


def migrated(content: Mapping[str, Any]) -> Content:
    """A config.json of any earlier version as the present one has it.

    A setting that its version had and the file lacks gets the default of that version, one that came later the value
    that means what runs did before. Pure; unknown settings stay, and so does a file of a later version.
    `content["settings"]` must be a dict.
    """
    content = {**content, "settings": current_names(content["settings"])}
    stated = content.get("schema_version")
    if stated is not None and (type(stated) is not int or stated not in VERSIONS):
        return content  # damaged, or of a later version
    written = stated or version_of(content)
    for number, version in VERSIONS.items():
        if number > written if stated else not _has_mark(content, version):
            content = version.convert(content)
            content["settings"] = version.before | content["settings"]
    return {**content, "settings": defaults_of(written) | content["settings"], "schema_version": SCHEMA_VERSION}


def migrated_settings(settings: Mapping[str, Any]) -> Content:
    """All settings of a file without a `schema_version`, as `migrated` gives them."""
    return migrated({"settings": settings})["settings"]


def version_of(content: Content) -> int:
    """The version of a file that does not state it: the last that has left its mark."""
    return max(number for number, version in VERSIONS.items() if _has_mark(content, version))


def defaults_of(number: int) -> Content:
    """The defaults of the settings of a version."""
    found: Content = {}
    for each, version in VERSIONS.items():
        found |= version.defaults if each <= number else {}
    return found


def _has_mark(content: Content, version: Version) -> bool:
    return not version.marks or any(mark in content or mark in content["settings"] for mark in version.marks)
