"""A folder that transformers.AutoModel.from_pretrained opens, with openjepa.json for what that layout cannot state."""

from pathlib import Path

from openjepa.interop.artifact import write_artifact
from openjepa.interop.formats.registry import Forward, Options
from openjepa.interop.loaded_weights import Source
from openjepa.optional import require


def write(folder: Path, source: Source, options: Options) -> None:
    written = source if options.with_predictor else source.alone(options.which)
    first = source.about.get("source") or {"name": source.name, "kind": source.kind}
    write_artifact(folder, written, options.which, {**source.about, "source": {**first, "licence": source.licence}})


def reopen(folder: Path, options: Options, source: Source) -> Forward:
    transformers = require("transformers", "hf")
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(folder).eval()
    return lambda pixels: model(pixels).last_hidden_state
