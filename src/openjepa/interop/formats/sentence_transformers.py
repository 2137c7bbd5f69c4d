"""A folder that SentenceTransformer(FOLDER) opens by that library's own modules: that of hf, and a mean over tokens."""

from pathlib import Path
from typing import Any

from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.interop.formats import hf
from openjepa.interop.formats.registry import Forward, Options
from openjepa.interop.loaded_weights import Source
from openjepa.optional import require

POOLING = "1_Pooling"
MODULES = {  # in the order in which they are run, by the folder that each has
    "": "sentence_transformers.base.modules.transformer.Transformer",
    POOLING: "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
}


def write(folder: Path, source: Source, options: Options) -> None:
    """Raises UsageError for an encoder of other than 8-bit colour or grey, which that library does not read."""
    if not source.pixel_format.picture:
        raise UsageError(
            f"{source.name} reads {source.pixel_format.in_words()}, and sentence-transformers reads 8-bit colour or "
            "grey alone: export to hf or onnx"
        )
    hf.write(folder, source, options)
    modules = [{"idx": k, "name": str(k), "path": path, "type": kind} for k, (path, kind) in enumerate(MODULES.items())]
    write_json(folder / "modules.json", modules)
    image = {"method": "forward", "method_output_name": "last_hidden_state"}
    task: dict[str, Any] = {"transformer_task": "feature-extraction", "modality_config": {"image": image}}
    write_json(folder / "sentence_bert_config.json", {**task, "module_output_name": "token_embeddings"})
    about = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine", "prompts": {}}
    write_json(folder / "config_sentence_transformers.json", about)
    (folder / POOLING).mkdir()
    width = source.encoder(options.which).embed_dim
    write_json(folder / POOLING / "config.json", {"embedding_dimension": width, "pooling_mode": "mean"})


def reopen(folder: Path, options: Options, source: Source) -> Forward:
    """What the library makes of standardised pixels, with its check that the mean over tokens is the embedding."""
    library = require("sentence_transformers", "sentence-transformers")
    require("transformers", "hf").logging.disable_progress_bar()
    model = library.SentenceTransformer(str(folder), device="cpu")
    return lambda pixels: model[0]({"pixel_values": pixels, "modality": "image"})["token_embeddings"]
