"""`openjepa explore INDEX`: the images of an index on a local page."""

from typing import Annotated

from typer import Argument, Option

from openjepa.commands.arguments.options import Device, Precision
from openjepa.console import log
from openjepa.data.summary import counted
from openjepa.errors import UsageError
from openjepa.exploring.serving import Server, check_installed, check_token, is_loopback, listening, opened_in_browser
from openjepa.files.path_arguments import checks_paths
from openjepa.indexing.index import open_index


@checks_paths
def explore(
    index: Annotated[str, Argument(help="An index.", show_default=False)],
    *,
    port: Annotated[int, Option(help="Port of the page; 0 takes a free one.")] = 0,
    host: Annotated[str, Option(help="Address of this machine for itself.")] = "127.0.0.1",
    no_open: Annotated[bool, Option("--no-open", help="Print the address, and open no browser.")] = False,
    model: Annotated[str | None, Option(help="The model of the index, where it has moved.", show_default=False)] = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Look at the images of an index on a page in the browser, until Ctrl-C.

    The page has a map of all images, search by image, region and example, filters, copies, odd images and groups.
    Its address is printed; it holds a random token, without which nothing is answered, and it is for this machine
    alone. Nothing is changed but the file of the map, which is kept in INDEX. docs/collections.md says more.

    Returns nothing. Raises UsageError.
    """
    check_installed()
    if not is_loopback(host):
        raise UsageError(f"--host {host} is not this machine alone: give 127.0.0.1, or use openjepa serve")
    token = check_token("")
    opened = open_index(index, model=model, device=device, precision=precision)
    with listening(host, port) as listener:
        server = Server(opened, listener, host, token, page=True)
        address = f"{server.address}?token={token}"
        log(f"{counted(len(opened), 'image')} of {opened.folder}, until Ctrl-C:", address)
        if not no_open:
            opened_in_browser(server.address_for_browser())
        server.run()
