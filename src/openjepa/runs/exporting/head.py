"""The export of a head: a folder for transformers or ONNX, opened there and compared with openjepa."""

from pathlib import Path

import torch

from openjepa.console import log
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json
from openjepa.interop.classifier import copy_head, library_of, load_classifier
from openjepa.interop.head_formats import graph_of, hf_outputs, onnx_outputs, timm_outputs, write_onnx
from openjepa.runs.exporting.encoder import COMPARISON, LIMIT, Export, comparison_pixels

WRITERS = {"hf": (copy_head, hf_outputs), "timm": (copy_head, timm_outputs), "onnx": (write_onnx, onnx_outputs)}
COPIED_AS = {"transformers": "hf", "timm": "timm", None: None}


def holds_head(model: str, name: str) -> bool:
    """Whether the format `name` of a head holds the head too; others hold its encoder alone. Raises UsageError."""
    return name in ("onnx", COPIED_AS[library_of(Path(model))])


def write_head_export(folder: Path, model: str, export: Export, overwrite: bool = False) -> None:
    """Write a head in a format that holds it, open it with the other library, and log the difference.

    With `overwrite` it takes the place of a folder that is there. Raises UsageError.
    """
    name, options = export.format.name, export.options
    for option, given in (("--half", options.half), ("--with-predictor", options.with_predictor)):
        if given:
            raise UsageError(f"{model} is a head, which is exported without {option}: leave it out")
    head = load_classifier(Path(model))
    encoder = head.encoder
    how = encoder.pixel_format, encoder.mean, encoder.std
    pixels, named = comparison_pixels(export.images, encoder.frame, *how)
    write, reopen = WRITERS[name]
    with usage_error(folder), atomic_folder(folder, replace=overwrite) as part:
        write(part, head)
        theirs = reopen(part, pixels)
        with torch.no_grad():
            gap = (theirs - graph_of(head)(pixels)).abs()
        difference = {"max": float(gap.max()), "mean": float(gap.mean())}
        write_json(
            part / COMPARISON, {"format": name, "images_of": named, "images": len(pixels), "outputs": difference}
        )
    log(
        f"{name}: {folder}",
        f"difference of the outputs on {len(pixels)} images of {named}: max {difference['max']:.1e}",
    )
    if not difference["max"] <= LIMIT:
        log(f"warning: that is more than {LIMIT:g}: do not rely on this export")
    log(f"licence: {head.encoder.licence or 'not stated'}")
