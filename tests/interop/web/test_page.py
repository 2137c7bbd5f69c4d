"""The page that runs an encoder in a browser: its pixels and neighbours are ours, and nothing comes from elsewhere."""

import base64
import functools
import io
import json
import re
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from support.photos import draw_photos

from openjepa.data.crops import Frame, resize_centre_crop
from openjepa.encoder.baselines import seeded
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.whitening import Whitening
from openjepa.files.marks import is_output_folder
from openjepa.interop.formats.registry import Options
from openjepa.interop.loaded_weights import Source
from openjepa.interop.web.folder import PAGE, int8_cosine, write

IMAGES = 104  # enough for a whitening
VERTICAL_FIRST = int(PIL.__version__.split(".")[0]) >= 13  # of images that lose more rows than columns
SHAPES = [  # (width, height), size, max_stretch, channels
    ((97, 61), (32, 32), 0.0, 3),
    ((64, 43), (24, 24), 0.5, 3),
    ((20, 30), (64, 48), 0.0, 1),
    ((64, 64), (64, 64), 0.0, 3),
    ((30, 240), (20, 16), 9.0, 1),
]
NODE = """
import { readFileSync } from "node:fs";
const { resized, seenBox, inChannels, standardised } = await import(process.argv[1]);
const read = (text) => new Uint8ClampedArray(Buffer.from(text, "base64"));
const cases = JSON.parse(readFileSync(0));
const cropped = ({ image, width, height, channels, size, stretch }) => resized(
  inChannels(read(image), channels), width, height, channels, size, seenBox(width, height, size, stretch));
console.log(JSON.stringify({
  crops: cases.map((one) => [...cropped(one)]),
  values: [...standardised(read(cases[0].image).subarray(0, 12), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])],
}));
"""
SEEN = """([image]) => new Promise((resolve, reject) => {
  const worker = new Worker("worker.js", {type: "module"});
  const bytes = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
  worker.onmessage = ({data}) => data.kind === "seen" ? resolve([...data.pixels]) : reject(new Error(data.why));
  worker.postMessage({kind: "embed", id: 1, image: new Blob([bytes])});
})"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page with a gallery, without a runtime."""
    home = tmp_path_factory.mktemp("web")
    photos = draw_photos(home / "photos", IMAGES)
    network = seeded(0, image_size=(16, 16), patch_size=8, embed_dim=48, depth=1, num_heads=4)
    source = Source("net", "openjepa", [0.45, 0.5, 0.4], [0.2, 0.25, 0.3], target=network)
    (home / "page").mkdir()
    write(home / "page", source, Options(gallery=str(photos)))
    encoder = Encoder(network, source.mean, source.std)
    return SimpleNamespace(folder=home / "page", photos=photos, source=source, encoder=encoder)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def visit(made, chromium):
    """The page in Chromium, all requests and what it complained of."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(made.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        requests, complaints = [], []
        page.on("request", lambda sent: requests.append(sent.url))
        page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        expect(page.locator("#status")).to_contain_text("missing", timeout=30_000)
        yield SimpleNamespace(page=page, requests=requests, complaints=complaints, port=server.server_port)
        browser.close()
    server.shutdown()
    server.server_close()


def random_image(width, height, seed=0):
    """Noise, and corners of black and white, whose edges overshoot."""
    array = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    array[: height // 2, : width // 2] = (array[: height // 2, : width // 2] > 127) * 255
    return Image.fromarray(array)


def test_scripts_make_the_pixels_of_pillow_to_the_last_bit(made):
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    cases, wanted = [], []
    for (width, height), size, stretch, channels in SHAPES[: None if VERTICAL_FIRST else -1]:
        image = random_image(width, height)
        pixels = base64.b64encode(image.convert("RGBA").tobytes()).decode()
        shape = {"width": width, "height": height, "size": size, "stretch": stretch, "channels": channels}
        cases.append({"image": pixels, **shape})
        read = image if channels == 3 else image.convert("L")
        wanted.append(resize_centre_crop(read, *Frame(size, stretch)).ravel().tolist())
    words = ["node", "--input-type=module", "-e", NODE, (made.folder / "pixels.js").as_uri()]
    done = subprocess.run(words, input=json.dumps(cases), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["crops"] == wanted
    first = np.frombuffer(random_image(*SHAPES[0][0]).convert("RGBA").tobytes()[:12], np.uint8).reshape(2, 2, 3)
    encoder = Encoder(made.encoder.network, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    values = encoder.standardised(torch.from_numpy(first.copy()).permute(2, 0, 1)[None])
    torch.testing.assert_close(torch.tensor(found["values"]), values.flatten(), atol=0, rtol=0)


def test_weights_of_8_bits_keep_the_embedding(made):
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert int8_cosine(made.folder, made.source, Options(), pixels) > 0.999
    small, large = ((made.folder / name).stat().st_size for name in ("encoder-int8.onnx", "encoder.onnx"))
    assert small < 0.6 * large  # of a network so small that names and positions count


def test_a_browser_shows_the_encoder_what_we_do(made, visit):
    """Transparency on white, orientation, grey: as `load_encoder` reads the same files."""
    turned = Image.Exif()
    turned[0x0112] = 6
    files = [io.BytesIO() for _ in range(4)]
    random_image(50, 33).save(files[0], "JPEG", exif=turned)
    clear = random_image(40, 40)
    clear.putalpha(Image.linear_gradient("L").resize((40, 40)))
    clear.save(files[1], "PNG")
    random_image(60, 20).convert("L").save(files[2], "JPEG")
    random_image(30, 20).quantize(16).save(files[3], "PNG", transparency=2)
    for file in files:
        found = np.array(visit.page.evaluate(SEEN, [base64.b64encode(file.getvalue()).decode()]))
        ours = made.encoder.preprocess(Image.open(file))[0].permute(1, 2, 0).flatten().numpy()
        assert np.abs(found - ours.astype(int)).max() <= 1


def test_neighbours_are_those_of_a_search(made, visit):
    page = visit.page
    assert page.locator("#all .tile").count() == IMAGES
    page.locator("#all .tile").nth(3).click()
    shown = page.locator("#result .tile")
    names = [shown.nth(place).get_attribute("title") for place in range(12)]
    paths = sorted(path.relative_to(made.photos).as_posix() for path in made.photos.rglob("*.jpg"))
    vectors = torch.from_numpy(made.encoder.encode([made.photos / path for path in paths]))
    whitened = Whitening.fit(vectors)(vectors)
    alike = torch.cosine_similarity(whitened[3], whitened, dim=1)
    alike[3] = -2
    assert names == [paths[place] for place in alike.argsort(descending=True)[:12]]
    assert shown.first.locator(".cosine").inner_text() == f"{alike.max():.2f}"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_without_its_runtime_says_what_to_do_and_asks_no_other_machine(visit):
    expect(visit.page.locator("#status")).to_contain_text("run npm install in the folder of this page")
    assert all(url.startswith((f"http://127.0.0.1:{visit.port}/", "data:", "blob:")) for url in visit.requests)
    assert not [line for line in visit.complaints if "404" not in line]  # the runtime


def test_the_page_runs_under_its_content_security_policy(made):
    page = (PAGE / "index.html").read_text()
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval';" in page
    assert not re.search(r"<style|style=|<script>|\son\w+=|https?:", page)
    for file in PAGE.iterdir():
        text = file.read_text()
        assert not re.search(r"\beval\(|\bFunction\(|innerHTML|insertAdjacentHTML|document\.write|https?:", text)
    assert is_output_folder(made.folder) is False  # the command writes comparison.json
