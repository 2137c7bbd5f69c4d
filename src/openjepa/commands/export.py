"""`openjepa export RUN --to FORMAT`: an encoder for other libraries, opened there and compared."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from torch import nn
from typer import Argument, Option

from openjepa.commands.arguments.fields import PythonOnly
from openjepa.commands.arguments.options import OverwriteFolder, Step
from openjepa.config import image_size as pixels
from openjepa.console import log
from openjepa.errors import UsageError
from openjepa.files.path_arguments import checks_paths
from openjepa.interop.classifier import is_head
from openjepa.interop.ensembles.open import load_ensemble
from openjepa.interop.ensembles.stored import is_ensemble
from openjepa.interop.formats.registry import Options, known
from openjepa.interop.hub import push
from openjepa.runs.checkpoints import find_step, open_own_at, open_source_at, trained_foreign_at
from openjepa.runs.exporting.encoder import Export, folder_of, is_written, licence_of, read_request, write_export
from openjepa.runs.exporting.foreign import write_foreign_export
from openjepa.runs.exporting.graph import write_graph_export
from openjepa.runs.exporting.head import holds_head, write_head_export
from openjepa.runs.images import check_new_artifact


@checks_paths
def export(
    model: Annotated[
        str, Argument(help="A run, an artifact, a head, or anything that import takes.", show_default=False)
    ],
    *,
    to: Annotated[str, Option(help=f"Format: {known()}.", show_default=False)],
    out: Annotated[
        Path | None, Option(help="Folder to write to; left out, MODEL/export-FORMAT, with the step where one is named.")
    ] = None,
    step: Step = None,
    which: Annotated[str, Option(help="Encoder: target (the paper evaluates it) or context.")] = "target",
    with_predictor: Annotated[bool, Option("--with-predictor", help="Write the predictor too.")] = False,
    image_size: Annotated[str | None, Option(help="For images of another size, as 448 or ROWSxCOLUMNS.")] = None,
    half: Annotated[bool, Option("--half", help="ONNX with float16 weights and arithmetic.")] = False,
    images: Annotated[str | None, Option(help="Images to compare on; left out, drawn scenes.")] = None,
    gallery: Annotated[
        str | None, Option(help="Of a page: images that it compares with; left out, it compares two with each other.")
    ] = None,
    runtime: Annotated[
        str | None, Option(help="Of a page: the folder of onnxruntime-web to copy from, or npm to fetch it.")
    ] = None,
    num_heads: Annotated[int | None, Option(help="Attention heads, for a width that is no standard size.")] = None,
    licence: Annotated[str | None, Option(help="Licence of your weights, for the card.")] = None,
    overwrite: OverwriteFolder = False,
    network: Annotated[nn.Module | None, PythonOnly()] = None,
) -> Path:
    """Write an encoder as another library opens it, open it there, and compare the two on images.

    The folder holds the weights, comparison.json and README.md, the model card. That of web is a static page, which
    runs the encoder in a browser, by onnxruntime-web. With hub:OWNER/NAME the folder, as for
    hf, is pushed to the Hub. Of a head, which finetune or evaluate --save-head wrote, hf and onnx hold the head too,
    and other formats the encoder alone. A network of timm or transformers that was trained further goes back to its
    library: --to timm or hf. An ensemble goes to onnx.

    In Python `network` opens a run that trained an `nn.Module` of a program: one of the same class, which stays as it
    is. It goes to onnx alone.

    Returns the folder. Raises UsageError.
    """
    model, size = str(model), None if image_size is None else pixels(str(image_size))
    number = None if step is None else find_step(Path(model), step)
    request = read_request(to, Options(which, with_predictor, half, gallery, runtime), images, number)
    folder = folder_of(model, request.format, out, number)
    inputs = [model, *(name for name in (images, gallery, runtime) if name)]
    if not request.hub_name:
        check_new_artifact(folder, "give --out another name", inputs, overwrite)
    if is_head(Path(model)) and holds_head(model, request.format.name):
        if request.hub_name or size or licence:
            raise UsageError(f"{model} is a head: it is exported without --image-size, --licence and hub:")
        write_head_export(folder, model, request, overwrite)
        return folder
    if number is None and is_ensemble(Path(model)):
        if num_heads or size or request.hub_name:
            raise UsageError(f"{model} is an ensemble: it is exported without --num-heads, --image-size and hub:")
        ensemble, _ = load_ensemble(Path(model), torch.device("cpu"), torch.float32)
        ensemble.licence = licence_of(ensemble, licence)
        write_graph_export(folder, ensemble, Path(model), request, overwrite)
        return folder
    if own := open_own_at(model, number, network, torch.device("cpu"), torch.float32, which, size):
        own.licence = licence
        if num_heads or request.hub_name:
            raise UsageError(f"{model} holds a network of your own: leave out --num-heads and hub:")
        write_graph_export(folder, own, Path(model), request, overwrite)
        return folder
    if foreign := trained_foreign_at(model, number, which):
        if num_heads:
            raise UsageError(f"{model} states its architecture: leave out --num-heads")
        foreign = replace(foreign.at_size(size) if size else foreign, name=model)
        write_foreign_export(folder, replace(foreign, licence=licence_of(foreign, licence)), request, overwrite)
        return _pushed(folder, request)
    source = open_source_at(model, number, size, num_heads=num_heads)
    source = replace(source, licence=licence_of(source, licence))
    if is_written(folder, source, request):
        log(f"{folder} is complete from an earlier try: it is pushed as it is")
    else:
        check_new_artifact(folder, "give --out another name", inputs, overwrite)
        write_export(folder, source, request, overwrite)
    return _pushed(folder, request)


def _pushed(folder: Path, request: Export) -> Path:
    """The folder, after its push where one was asked for."""
    if request.hub_name:
        log(f"pushed: {push(folder, request.hub_name)}")
    return folder
