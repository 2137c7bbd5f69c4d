"""The export of a network that is no plain ViT, of a program or of another library, as an ONNX graph."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from openjepa.console import log
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.joined import Ensemble
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json, write_text
from openjepa.interop.formats.compare import compare
from openjepa.interop.formats.onnx import FILE, run_onnx, write_graph
from openjepa.interop.model_card import CODE_NAME, Card, comparison_rows, rounded, write_card
from openjepa.runs.exporting.encoder import (
    COMPARISON,
    HALF_LIMIT,
    LIMIT,
    Export,
    comparison_pixels,
    difference_lines,
    with_run,
)


def write_graph_export(folder: Path, encoder: Encoder, run: Path, export: Export, overwrite: bool = False) -> None:
    """Write the graph of an encoder of a `run`, open it with onnxruntime, and log the difference on images.

    With `overwrite` it takes the place of a folder that is there. Raises UsageError for another format, and for a
    network of which the exporter makes no graph.
    """
    named, half = export.format.name, export.options.half
    if named != "onnx":
        own = f"a {type(encoder.network).__name__} of your own"
        kind = "several networks" if isinstance(encoder, Ensemble) else own
        raise UsageError(f"{run} holds {kind}, which no other library can build: give --to onnx")
    if export.options.with_predictor:
        raise UsageError("ONNX holds the encoder alone: leave out --with-predictor")
    pixels, of = comparison_pixels(export.images, encoder.frame, encoder.pixel_format, encoder.mean, encoder.std)
    about: dict[str, Any] = {"mean": encoder.mean, "std": encoder.std, "pixel_format": vars(encoder.pixel_format)}
    about |= {"max_stretch": encoder.max_stretch, "licence": encoder.licence}
    with usage_error(folder), atomic_folder(folder, replace=overwrite) as part:
        comparison = _written(part, encoder, about, half, pixels)
        write_json(part / COMPARISON, {"format": named, "images_of": of, **comparison})
        card = _card(encoder, export, folder.resolve().name, comparison, of)
        write_text(part / "README.md", write_card(with_run(card, run, export.step)))
    log(*difference_lines(folder, named, comparison, of, HALF_LIMIT if half else LIMIT))
    log(f"licence: {encoder.licence or 'not stated; --licence puts one on the card'}")


def _written(part: Path, encoder: Encoder, about: dict[str, Any], half: bool, pixels: Tensor) -> dict[str, Any]:
    """Write the graph; how close onnxruntime comes with it."""
    network: Any = encoder.network
    try:
        write_graph(part, network, about, half)
        run = run_onnx(part / FILE)
        return compare(lambda images: run(images)[1], network, pixels)
    except (UsageError, OSError):
        raise
    except Exception as error:  # the exporter and onnxruntime, on code that is not openjepa's
        reason = " ".join(str(error).split())[:150]
        raise UsageError(
            f"{encoder.name} cannot be written as ONNX, because the exporter refuses it: {reason}"
        ) from error


def _card(encoder: Encoder, export: Export, name: str, comparison: dict, images: str) -> Card:
    network: nn.Module = encoder.network  # type: ignore[assignment]
    (height, width), (rows, columns) = encoder.image_size, encoder.grid_size
    return Card(
        name=name,
        licence=encoder.licence,
        library="",
        usage=export.format.usage.format(name=name if CODE_NAME.fullmatch(name) else "FOLDER", heads=""),
        model=[
            (
                "encoder",
                f"{type(network).__name__}, {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters",
            ),
            ("input", f"{height}x{width} px, {rows}x{columns} patches of {encoder.network.patch_size} px"),
            ("mean, std", f"{rounded(encoder.mean)}, {rounded(encoder.std)}"),
        ],
        comparison=comparison_rows(comparison, images),
    )
