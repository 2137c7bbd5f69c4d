"""Whether the page of `openjepa export --to web` computes in Chromium what openjepa computes with PyTorch.

python benchmarks/web_demo.py MODEL --runtime npm [--gallery DATA] [--screens FOLDER] [--chromium PATH]

prints a table and writes benchmarks/results/web_demo.json. Ten images are drawn, in several formats, sizes and
orientations, and given to the page one by one. For each: the largest difference of the pixels that the encoder sees,
in levels of 255, and the cosine of the embedding with PyTorch's, for float32 and 8-bit weights. `others` is the largest
cosine with any other of the images: an embedding that is off would be nearer to one of those. `--screens` keeps
pictures of the page, light and dark, wide and narrow.
"""

import argparse
import base64
import functools
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
from drawn_files import files
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from record import record

import openjepa

EMBED = """async ([image, file]) => {
  const worker = new Worker("worker.js", {type: "module"});
  const bytes = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
  const found = {};
  const done = new Promise((resolve, reject) => {
    worker.onmessage = ({data}) => {
      if (data.kind === "seen") found.pixels = [...data.pixels];
      if (data.kind === "failed") reject(new Error(data.why));
      if (data.kind === "embedded") resolve({...found, vector: [...data.vector], ms: data.ms});
    };
  });
  worker.postMessage({kind: "open", file});
  worker.postMessage({kind: "embed", id: 1, image: new Blob([bytes])});
  const answer = await done;
  worker.terminate();
  return answer;
}"""
WAIT = 180_000  # milliseconds, for machines that do other things
WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def compared(page: Page, model: str) -> list[dict]:
    """A row for each image."""
    encoder, images = openjepa.load_encoder(model), files()
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place) / str(number) for number in range(len(images))]
        for path, data in zip(paths, images.values(), strict=True):
            path.write_bytes(data)
        ours = torch.from_numpy(encoder.encode(paths))
        seen = [encoder.preprocess(Image.open(path)).numpy()[0].transpose(1, 2, 0) for path in paths]
    alike = torch.cosine_similarity(ours[:, None], ours[None], dim=2).fill_diagonal_(-1).max(dim=1).values
    return [
        {"image": name, **answers(page, data, vector, pixels), "others": float(most)}
        for (name, data), vector, pixels, most in zip(images.items(), ours, seen, alike, strict=True)
    ]


def answers(page: Page, image: bytes, vector: torch.Tensor, pixels: np.ndarray) -> dict:
    """What the page makes of an image, beside what PyTorch does."""
    found: dict = {}
    for name, file in (("float32", "encoder.onnx"), ("int8", "encoder-int8.onnx")):
        answer = page.evaluate(EMBED, [base64.b64encode(image).decode(), file])
        theirs = torch.tensor(answer["vector"])
        gap = np.abs(np.array(answer["pixels"]).reshape(pixels.shape) - pixels.astype(int))
        found |= {"pixels": int(gap.max()), name: float(torch.cosine_similarity(theirs, vector, dim=0))}
        found[f"{name}_ms"] = answer["ms"]
    return found


def look(browser: Browser, address: str, folder: Path, pair: bool) -> None:
    """Pictures of the page with an image (or two) given."""
    given = list(files().items())
    for scheme in ("light", "dark"):
        for name, size in (("wide", WIDE), ("narrow", NARROW)):
            page = browser.new_page(viewport=size, color_scheme=scheme)
            page.set_default_timeout(WAIT)
            page.goto(address)
            page.get_by_text("Ready.").wait_for()
            page.screenshot(path=folder / f"{name}-{scheme}-empty.png")
            for field, (file, data) in zip(page.locator("input[type=file]").all(), given, strict=False):
                kind = f"image/{file.split()[0].lower()}"
                field.set_input_files({"name": file, "mimeType": kind, "buffer": data})
            page.locator(".number" if pair else "#result .tile").first.wait_for()
            page.get_by_text("Computed in").wait_for()
            page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True)
            page.close()


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("model")
    reader.add_argument("--runtime", required=True)
    reader.add_argument("--gallery")
    reader.add_argument("--screens", type=Path)
    reader.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "page"
        openjepa.export(asked.model, to="web", out=out, gallery=asked.gallery, runtime=asked.runtime)
        with serving(out) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
            page, outside = browser.new_page(), []
            page.set_default_timeout(WAIT)
            page.on("request", lambda sent: outside.append(sent.url) if not sent.url.startswith(address) else None)
            page.goto(address)
            rows = compared(page, asked.model)
            if asked.screens:
                asked.screens.mkdir(parents=True, exist_ok=True)
                look(browser, address, asked.screens, asked.gallery is None)
            version = browser.version
            browser.close()
    print(f"{'image':42} {'pixels':>6} {'float32':>9} {'8 bits':>9} {'others':>7} {'ms':>6}")
    for row in rows:
        numbers = f"{row['pixels']:6} {row['float32']:9.6f} {row['int8']:9.6f} {row['others']:7.3f}"
        print(f"{row['image']:42} {numbers} {row['float32_ms']:6.0f}")
    outside = [url for url in outside if not url.startswith(("data:", "blob:"))]
    print(f"requests to other places: {len(outside)}")
    record("web_demo", chromium=version, outside=outside, rows=rows)
    if outside or min(row["float32"] for row in rows) < 0.999 or min(row["int8"] for row in rows) < 0.99:
        raise SystemExit("the page computes something else")


if __name__ == "__main__":
    main()
