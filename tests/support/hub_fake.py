"""A Hub on the loopback: enough of its interface to fetch a model, to break off, and to take a push."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """`files` are those of the one model there is; `cut` breaks the next body of weights off after so many bytes,
    and all after it before the first."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.cut, self.pushed, self.ranges, self.created = files, None, {}, [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.file(body=False)

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            siblings = [{"rfilename": name} for name in self.server.files]
            named = {"id": "lab/model", "sha": REVISION, "siblings": siblings}
            tree = [
                {"type": "file", "path": n, "size": len(b), "oid": git_hash(b)} for n, b in self.server.files.items()
            ]
            self.json(tree if "/tree/" in self.path else named)
        else:
            self.file(body=True)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(length) if length else self.chunks()
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(sent)["name"])
            self.json({"url": f"{self.server.address}/lab/model", "name": "lab/model", "id": "lab/model"})
        elif "/preupload/" in self.path:
            files = json.loads(sent)["files"]
            self.json({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "/commit/" in self.path:
            for line in map(json.loads, sent.splitlines()):
                if line["key"] == "file":
                    self.server.pushed[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            done = {"commitUrl": f"{self.server.address}/lab/model/commit/{REVISION}", "commitOid": REVISION}
            self.json({**done, "success": True})
        else:
            self.json({}, 200)

    def chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return b""
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def json(self, value: object, status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def file(self, body: bool) -> None:
        name = self.path.split("?")[0].rsplit("/", 1)[1]
        content = self.server.files.get(name)
        if content is None:
            return self.json({}, 404)
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        if body:
            self.server.ranges.append((name, start))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            self.body(content[start:], name)

    def body(self, content: bytes, name: str) -> None:
        if self.server.cut is not None and name.endswith((".safetensors", ".tar")):
            self.wfile.write(content[: self.server.cut])
            self.wfile.flush()
            self.server.cut = 0
            self.close_connection = True
            self.connection.shutdown(2)
        else:
            self.wfile.write(content)


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
