"""`openjepa serve INDEX_OR_MODEL`: the images of an index, or a model, for programs, over HTTP."""

import os
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.arguments.options import Device, Precision, Step
from openjepa.console import log
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.exploring.serving import Server, check_installed, check_token, is_loopback, listening
from openjepa.files.path_arguments import checks_paths
from openjepa.indexing.index import Index, open_index
from openjepa.indexing.store import holds_index
from openjepa.runs.checkpoints import open_model_at

VARIABLE = "OPENJEPA_TOKEN"


@checks_paths
def serve(
    index_or_model: Annotated[
        str, Argument(help="An index; or a run, an artifact or another model, for embeddings.", show_default=False)
    ],
    *,
    host: Annotated[str, Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        Option(help="Token that requests must have, 16 characters or more; else that of OPENJEPA_TOKEN, or random."),
    ] = None,
    model: Annotated[str | None, Option(help="The model of the index, where it has moved.", show_default=False)] = None,
    step: Step = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Answer programs over HTTP, until Ctrl-C: what openjepa explore has of an index, or the embeddings of a model.

    A server of a model gives the vectors of images that are sent to it, and how similar they are.
    Every request needs the header Authorization: Bearer TOKEN. The API is described by /api/openapi.json and in
    docs/reference/http.md. What is sent is not encrypted, so other machines should ask through a proxy that is; for an
    address beyond this machine a token must be given. Other users of the machine see words of command lines, so give
    it by the variable OPENJEPA_TOKEN there.

    Returns nothing. Raises UsageError.
    """
    check_installed()
    given = token if token is not None else os.environ.get(VARIABLE, "")
    if not given and not is_loopback(host):
        raise UsageError(f"--host {host} is open to other machines: give a --token, or set {VARIABLE}")
    known = check_token(given)
    served = _opened(index_or_model, model, step, device, precision)
    with listening(host, port) as listener:
        server = Server(served, listener, host, known, page=False)
        what = f"{counted(len(served), 'image')} of {served.folder}" if isinstance(served, Index) else served.name
        log(f"{what} at {server.address}, until Ctrl-C")
        if not given:
            log(f"token: {known}")
        server.run()


def _opened(name: str, moved: str | None, step: Step, device: str, precision: str) -> Index | Model:
    """An index or a model by its name. Raises UsageError."""
    if holds_index(Path(name)):
        if step is not None:
            raise UsageError("--step is of a run, and an index is of one step: leave it out")
        return open_index(name, model=moved, device=device, precision=precision)
    if moved is not None:
        raise UsageError(f"--model is for an index, and {name} is none: give one of them")
    where = choose_device(device)
    return open_model_at(name, step, where, choose_precision(precision, where))
