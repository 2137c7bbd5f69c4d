"""Servers on the loopback: files with ranges, as object stores and web servers give them, and a Hub with a data set."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Files(ThreadingHTTPServer):
    """The files of a folder over HTTP; `asked` has (path, first byte) of every answer with a body."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), FileAnswer)
        self.root, self.asked = root, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class FileAnswer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.file(self.server.root / unquote(self.path).lstrip("/"), body=False)

    def do_GET(self) -> None:
        self.file(self.server.root / unquote(self.path).lstrip("/"), body=True)

    def file(self, path: Path, body: bool) -> None:
        content = path.read_bytes() if path.is_file() else None
        if content is None:
            return self.answer(404, b"", body, {})
        first, last, asked = 0, len(content) - 1, self.headers.get("Range")
        if asked:
            low, high = asked.removeprefix("bytes=").split("-")
            first, last = int(low), min(last, int(high or last))
        about = {"Accept-Ranges": "bytes", "ETag": f'"{len(content)}-{path.name}"', "X-Repo-Commit": REVISION}
        if asked:
            about["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        if body:
            self.server.asked.append((path.name, first))
        self.answer(206 if asked else 200, content[first : last + 1], body, about)

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), True, {"Content-Type": "application/json"})

    def answer(self, status: int, content: bytes, body: bool, about: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in about.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


class DataHub(Files):
    """A Hub whose one data set, `name`, is the folder `root`."""

    def __init__(self, root: Path, name: str = "lab/photos") -> None:
        super().__init__(root)
        self.name, self.RequestHandlerClass = name, HubAnswer


class HubAnswer(FileAnswer):
    @property
    def files(self) -> list[dict]:
        paths = sorted(path for path in self.server.root.rglob("*") if path.is_file())
        return [
            {
                "type": "file",
                "path": path.relative_to(self.server.root).as_posix(),
                "size": path.stat().st_size,
                "oid": "0" * 40,
            }
            for path in paths
        ]

    def do_GET(self) -> None:
        self.reply(body=True)

    def do_HEAD(self) -> None:
        self.reply(body=False)

    def reply(self, body: bool) -> None:
        name = self.server.name
        short = re.escape(name.split("/")[1])  # the Hub knows old sets by their last name alone
        path = re.sub(rf"\A(/api)?/datasets/{short}(?=/|\Z)", rf"\1/datasets/{name}", unquote(self.path.split("?")[0]))
        wanted = re.fullmatch(rf"/(?:datasets/{name}/resolve|api/datasets/{name}/tree)/[^/]+(?:/(.*))?", path)
        if wanted and "/resolve/" in path:
            return self.file(self.server.root / wanted[1], body)
        if wanted:
            folder = self.server.root / (wanted[1] or "")
            inside = [path.relative_to(self.server.root).as_posix() for path in folder.iterdir() if path.is_dir()]
            here = [file for file in self.files if (self.server.root / file["path"]).parent == folder]
            return self.json(here + [{"type": "directory", "path": path, "oid": "0" * 40} for path in inside])
        if path in (f"/api/datasets/{name}", f"/api/datasets/{name}/revision/{REVISION}"):
            siblings = [{"rfilename": file["path"]} for file in self.files]
            return self.json({"id": name, "sha": REVISION, "siblings": siblings, "tags": [], "private": False})
        self.answer(404, b"", body, {"X-Error-Code": "EntryNotFound"})

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.json([file for file in self.files if file["path"] in sent.get("paths", [])])
