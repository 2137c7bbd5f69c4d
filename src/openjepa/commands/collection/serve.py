"""`openjepa serve INDEX`: the images of an index for programs, over HTTP."""

import os
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.arguments.options import Device, Precision
from openjepa.console import log
from openjepa.data.summary import counted
from openjepa.errors import UsageError
from openjepa.exploring.serving import Server, check_installed, check_token, is_loopback, listening
from openjepa.files.path_arguments import checks_paths
from openjepa.indexing.index import open_index

VARIABLE = "OPENJEPA_TOKEN"


@checks_paths
def serve(
    index: Annotated[str, Argument(help="An index.", show_default=False)],
    *,
    host: Annotated[str, Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        Option(help="Token that requests must have, 16 characters or more; else that of OPENJEPA_TOKEN, or random."),
    ] = None,
    model: Annotated[str | None, Option(help="The model of the index, where it has moved.", show_default=False)] = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Answer programs over HTTP with the images of an index, until Ctrl-C: what openjepa explore has, without its page.

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
    opened = open_index(index, model=model, device=device, precision=precision)
    with listening(host, port) as listener:
        server = Server(opened, listener, host, known, page=False)
        log(f"{counted(len(opened), 'image')} of {opened.folder} at {server.address}, until Ctrl-C")
        if not given:
            log(f"token: {known}")
        server.run()
