"""Make the pictures of the page of openjepa explore, of drawn scenes and an untrained encoder.

python docs/images/explore.py [CHROMIUM]      writes explore.png, explore-region.png and explore-anomalies.png
"""

import io
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import openjepa
from openjepa.data.scenes.scenes import draw_scene
from openjepa.data.scenes.solids import SHAPES
from openjepa.exploring.serving import Server, listening

HERE = Path(__file__).parent
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SCENES, SIDE, COLOURS, TOKEN = 600, 128, 256, "the-token-of-the-pictures"


def make_index(home: Path) -> Path:
    for place in range(SCENES):
        scene = draw_scene(11, place, (SIDE, SIDE))
        folder = home / "scenes" / SHAPES[scene.shape]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).save(folder / f"{place:04}.jpg", quality=92)
    return openjepa.index("untrained:vit_nano", home / "scenes", out=home / "scenes.index", patches=True)


def save(page: Page, name: str) -> None:
    page.wait_for_timeout(1500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(HERE / name, optimize=True)


def take(page: Page, address: str) -> None:
    """Images that a lasso has selected on the map; the places of a box in other images, in dark; what is odd beside
    scenes without a torus."""
    page.goto(f"{address}?token={TOKEN}#color=cluster&sel=lasso:-1,-0.3,-0.1,-0.3,-0.1,0.6,-1,0.6")
    page.wait_for_selector("html[data-ready]", state="attached", timeout=300_000)
    save(page, "explore.png")
    page.emulate_media(color_scheme="dark")
    page.evaluate("location.hash = '#color=outlier&tab=search&image=40&q=40&box=0.35,0.4,0.65,0.75'")
    page.wait_for_selector(".neighbours .item")
    page.wait_for_selector(".tile .box")
    save(page, "explore-region.png")
    page.emulate_media(color_scheme="light")
    page.evaluate("location.hash = '#where=class!=%27torus%27&tab=anomalies'")
    page.get_by_role("button", name="these are normal").click()
    page.get_by_role("link", name="Export CSV").wait_for(timeout=300_000)
    page.get_by_role("button", name="Clear").click()
    page.locator("#panel-anomalies").get_by_role("button", name="Colour the map").click()
    page.get_by_role("listbox", name="Images by oddness").locator(".tile").first.click()
    page.locator(".neighbours .item").first.wait_for()
    page.select_option("#layer", "odd")
    save(page, "explore-anomalies.png")


def main() -> None:
    chromium = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as home, listening("127.0.0.1", 0) as listener, sync_playwright() as playwright:
        index = openjepa.open_index(make_index(Path(home)))
        server = Server(index, listener, "127.0.0.1", TOKEN, page=True)
        server.collection.slow["map"].get()
        running = threading.Thread(target=server.run)
        running.start()
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        take(browser.new_page(viewport={"width": 1440, "height": 810}), server.address)
        browser.close()
        server.stop()
        running.join()


if __name__ == "__main__":
    main()
