"""How soon the page of openjepa explore is usable with many images, in Chromium without a graphics card.

python benchmarks/explore_page.py [CHROMIUM]      prints a table and writes benchmarks/results/explore_page.json

The page is served with a map of clusters, a column of ten categories and few thumbnails, for 100,000 and 1,000,000
images that do not exist: what is measured is the page, with WebGL in software, and not the index. `painted` is when the
points are on the screen, `usable` when colours and grid are there too, and a lasso has selected half of the images,
which is also given by itself (`lasso`). `odd` is the time from saying that this half is normal, with a detector that
takes none, to the list of all images by their scores. `frame` is the mean time of a step of zooming. Times are in
seconds from the request of the page.
"""

import io
import json
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from record import record

from openjepa.exploring.app import KINDS, STATIC

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
NAMES = [f"class {number}" for number in range(10)]
STEPS = 12


class Drawn(ThreadingHTTPServer):
    """What the page asks for, of `count` images."""

    daemon_threads = True

    def __init__(self, count: int) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        rng = np.random.default_rng(0)
        self.codes = rng.integers(0, 10, count, dtype=np.uint8)
        centres = rng.uniform(-0.7, 0.7, (10, 2))
        points = centres[self.codes] + rng.normal(0, 0.09, (count, 2))
        self.points = np.clip(points, -1, 1).astype("<f4")
        self.scores = rng.normal(0, 2, count).astype("<f4")
        self.detector: dict[str, object] = {"state": "none", "suspects": [], "error": None}
        self.thumbnails = [self.thumbnail(colour) for colour in rng.integers(40, 220, (64, 3))]
        columns = [{"name": "class", "type": "category"}]
        about = {"name": "drawn", "images": count, "source": "drawn", "model": "none", "dimensions": 384}
        self.about = about | {"columns": columns, "labels": ["class"], "patches": True, "map_ready": True, "run": None}

    @staticmethod
    def thumbnail(colour: np.ndarray) -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", (96, 72), tuple(map(int, colour))).save(stream, "WEBP")
        return stream.getvalue()

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, str]:
        if path == "/api/points":
            return self.points.tobytes(), "application/octet-stream"
        if path == "/api/detector/scores":
            return self.scores.tobytes(), "application/octet-stream"
        if path == "/api/columns/class/values":
            return self.codes.tobytes(), "application/octet-stream"
        if path.startswith("/api/thumbnails/"):
            return self.thumbnails[int(path.rsplit("/", 1)[1]) % 64], "image/webp"
        known = {
            "/api/index": self.about,
            "/api/detector": self.detector,
            "/api/columns/class": {"name": "class", "type": "category", "categories": NAMES, "missing": 0},
            "/api/names": {"paths": [f"image-{number}.jpg" for number in query.get("ids", [""])[0].split(",")]},
        }
        if path in known:
            return json.dumps(known[path]).encode(), "application/json"
        file = STATIC / ("index.html" if path == "/" else path.rsplit("/", 1)[1])
        return file.read_bytes(), KINDS[file.suffix]


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_POST(self) -> None:
        drawn: Drawn = self.server  # type: ignore[assignment]
        normals = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["normals"]
        drawn.detector |= {"state": "done", "given": len(normals), "normals": 1000, "reads": "nothing", "late": False}
        drawn.detector |= {"scored": len(drawn.scores)}
        self.do_GET()

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        try:
            body, kind = self.server.answer(address.path, parse_qs(address.query))  # type: ignore[attr-defined]
            self.send_response(200)
        except (KeyError, OSError, ValueError):
            body, kind = b'{"error": "there is nothing at this address"}', "application/json"
            self.send_response(404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(count: int):
    server = Drawn(count)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def lasso(page: Page) -> float:
    """Seconds until a lasso around the upper half of the map has selected its images."""
    box = page.locator(".stage").bounding_box()
    assert box
    left, top, right, middle = box["x"] + 2, box["y"] + 2, box["x"] + box["width"] - 2, box["y"] + box["height"] / 2
    page.keyboard.press("l")
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, middle), (left, middle)):
        page.mouse.move(x, y, steps=4)
    begun = time.perf_counter()
    page.mouse.up()
    page.get_by_role("button", name="Show all", exact=True).wait_for()
    return time.perf_counter() - begun


def odd(page: Page) -> float:
    """Seconds until all images are listed by the detector of those that are selected."""
    page.keyboard.press("7")
    begun = time.perf_counter()
    page.get_by_role("button", name="these are normal").click()
    page.get_by_role("listbox", name="Images by oddness").locator(".tile").first.wait_for()
    return time.perf_counter() - begun


def zooming(page: Page) -> float:
    """Seconds a step of zooming takes until it is drawn, in the mean."""
    page.focus(".stage")
    begun = time.perf_counter()
    for step in range(STEPS):
        page.keyboard.press("+" if step % 2 else "-")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return (time.perf_counter() - begun) / STEPS


def measured(page: Page, address: str) -> dict[str, float]:
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("html[data-painted]", state="attached", timeout=120_000)
    picture = Image.open(io.BytesIO(page.locator(".stage").screenshot()))
    painted = time.perf_counter() - begun
    colours = picture.convert("RGB").getcolors(2**20)
    if colours is None or len(colours) < 10:
        raise SystemExit("no points are on the screen")
    page.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
    seconds = lasso(page)
    usable = time.perf_counter() - begun
    return {"painted": painted, "usable": usable, "lasso": seconds, "odd": odd(page), "frame": zooming(page)}


def main() -> None:
    chromium = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium") or shutil.which("chromium-browser")
    found = {}
    print("images         painted    usable     lasso       odd     frame")
    with sync_playwright() as playwright:
        for count in (100_000, 1_000_000):
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            with serving(count) as address:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                found[f"{count}"] = row = measured(page, address)
                version = browser.version
                browser.close()
            print(f"{count:9,} " + "".join(f"{row[name]:8.2f} s" for name in row))
    record("explore_page", browser=f"Chromium {version}", **found)


if __name__ == "__main__":
    main()
