"""A server of an index or a model on the loopback, and a client that asks it."""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

import openjepa
from openjepa.encoder.features import Model
from openjepa.exploring.serving import Server, listening
from openjepa.indexing.index import Index
from support.photos import draw_photos

TOKEN = "a-token-that-no-one-guesses"


COUNT = 24  # photos; beside them lies a larger copy of one


def explored(home: Path) -> Path:
    """A folder with photos/, labels.csv of some of them, and their index with patch tokens."""
    draw_photos(home / "photos", COUNT)
    copy = Image.open(home / "photos/cat/000.jpg")
    copy.resize((40, 40), Image.Resampling.BICUBIC).save(home / "photos/dog/copy.png")
    labels = home / "labels.csv"
    labels.write_text("path,kind,weight\ncat/000.jpg,one,1.5\ncat/002.jpg,two,\ndog/001.jpg,two,3\n")
    model = "untrained:vit_nano_patch8_32"
    openjepa.index(model, home / "photos", out=home / "index", labels=labels, patches=True, workers=0)
    return home


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client(NamedTuple):
    """Asks a server, each time by a connection of its own, with the token unless `headers` say otherwise."""

    server: Server

    @property
    def port(self) -> int:
        return self.server.listener.getsockname()[1]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        sent = json.dumps(body) if isinstance(body, dict) else body
        given = {"Authorization": f"Bearer {TOKEN}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, sent, {name: text for name, text in given.items() if text})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), {name.lower(): text for name, text in answer.getheaders()})

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        return self.ask("POST", path, body, **headers)


@contextlib.contextmanager
def serving(index: Index | Model, page: bool = True) -> Iterator[Client]:
    with listening("127.0.0.1", 0) as listener:
        server = Server(index, listener, "127.0.0.1", TOKEN, page)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield Client(server)
        finally:
            server.stop()
            thread.join(20)
            assert not thread.is_alive()
