"""The page of openjepa explore, in Chromium: one page is opened, and used as a person does."""

import csv
import io
import re
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from support.anomaly_parts import GREY, PREDICTOR
from support.explored import TOKEN, serving

import openjepa
from openjepa.data.scenes.scenes import draw_scene
from openjepa.data.scenes.solids import SHAPES
from openjepa.encoder.baselines import seeded
from openjepa.indexing.curation import duplicates
from openjepa.interop.artifact import save_artifact
from openjepa.methods.ijepa import IJEPA

IMAGES = 36  # below 50 the map is that of PCA, which takes no time
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WAIT = 30_000  # milliseconds, for machines that do other things
REFUSED = re.compile(r"the server responded with a status of 400")


def scenes_index(home):
    """An index with patches of scenes in a folder for each shape; one has an exact copy."""
    for place in range(IMAGES - 1):
        scene = draw_scene(3, place, (48, 48))
        folder = home / "scenes" / SHAPES[scene.shape]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(scene.image)
        for name in [f"scene-{place:03}.png", "copy-of-000.png"][: 1 + (place == 0)]:
            picture.save(folder / name)
    method = IJEPA.build(seeded(0, image_size=(32, 32), patch_size=8, embed_dim=64, depth=2, num_heads=2), **PREDICTOR)
    save_artifact(home / "model", method, GREY, GREY, {})
    return openjepa.index(home / "model", home / "scenes", out=home / "scenes.index", patches=True, workers=0)


@contextmanager
def few_comparisons():
    """Copies are looked for without turning and cutting, which is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "ORIENTATIONS", 1)
        patch.setattr(duplicates, "WINDOWS", ())
        yield


@pytest.fixture(scope="module")
def visit(tmp_path_factory, chromium):
    """The page, its address, all requests and what it complained of."""
    home = tmp_path_factory.mktemp("explored")
    index = openjepa.open_index(scenes_index(home))
    with few_comparisons(), serving(index) as client, sync_playwright() as playwright:
        server = client.server
        server.collection.slow["duplicates"].start()
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 600}, reduced_motion="reduce")
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        requests, complaints = [], []
        page.on("request", lambda sent: requests.append(sent.url))
        page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server.address}?token={TOKEN}")
        page.wait_for_selector("html[data-ready]", state="attached")
        yield SimpleNamespace(page=page, home=home, server=server, requests=requests, complaints=complaints)
        browser.close()


@pytest.fixture
def page(visit):
    """The page as it was when it was opened."""
    visit.page.evaluate("location.hash = '#'")
    expect(visit.page.locator(".size").first).to_contain_text(f"{IMAGES} images")
    return visit.page


def colours_of(page):
    """The colours that are frequent in the picture of the map, as a person sees it."""
    picture = Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB")
    return {f"rgb({red}, {green}, {blue})" for count, (red, green, blue) in picture.getcolors(2**20) if count > 20}


def names(grid):
    return grid.locator(".tile .name").all_text_contents()


def test_the_head_says_what_the_index_is(page):
    expect(page.locator("h1")).to_have_text("scenes.index")
    expect(page.locator(".head .muted").first).to_contain_text(f"{IMAGES} images · model · 64 dimensions")
    assert page.title() == "scenes.index · openjepa explore"


def test_the_legend_names_categories_with_counts_and_selects_them(page):
    entries = page.locator(".entry")
    counts = [int(text.split()[-1]) for text in entries.all_inner_texts()]
    assert sum(counts) == IMAGES and counts == sorted(counts, reverse=True)
    page.keyboard.press("t")
    swatches = page.locator(".swatch").evaluate_all("all => all.map((one) => getComputedStyle(one).backgroundColor)")
    assert {*swatches} <= colours_of(page)
    page.keyboard.press("t")
    entries.first.click()
    expect(page.locator(".size").first).to_have_text(f"{counts[0]} of {IMAGES} images")
    page.keyboard.press("Escape")
    expect(page.locator(".size").first).to_have_text(f"{IMAGES} images")


@pytest.mark.parametrize("column", ["outlier", "cluster", "folder", "brightness"])
def test_points_are_coloured_by_any_column(page, column):
    page.select_option("#colour", column)
    numbers = column in ("outlier", "brightness")
    expect(page.locator(".legend .scale" if numbers else ".legend .entry").first).to_be_visible()
    page.wait_for_url(f"**color={column}**")


def test_the_map_zooms_moves_and_shows_what_is_under_the_pointer(page):
    box = page.locator(".stage").bounding_box()
    x, y = box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    page.wait_for_url(re.compile(r"zoom=1\.6"))
    page.mouse.down()
    page.mouse.move(x + 80, y + 30, steps=3)
    page.mouse.up()
    page.wait_for_url(re.compile(r"x=-?0\.\d+"))
    page.focus(".stage")
    page.keyboard.press("0")
    page.wait_for_url(lambda address: "zoom" not in address)
    for step in range(0, 400, 8):
        page.mouse.move(x - 200 + step, y - 200 + step)
        if page.locator(".hover").is_visible():
            break
    expect(page.locator(".hover .name")).to_have_text(re.compile(r"(scene-\d{3}|copy-of-000)\.png"))


def test_a_lasso_selects_what_it_encloses_and_the_address_keeps_it(page):
    page.focus(".stage")
    page.keyboard.press("l")
    box = page.locator(".stage").bounding_box()
    left, top, right, bottom = box["x"] + 3, box["y"] + 3, box["x"] + box["width"] / 2, box["y"] + box["height"] - 3
    middle = box["x"] + box["width"] * 0.63
    page.mouse.move(middle, top)
    page.mouse.down()
    for x, y in [(right + 300, top), (right + 300, bottom), (middle, bottom), (middle, (top + bottom) / 2)]:
        page.mouse.move(min(x, box["x"] + box["width"] - 2), y, steps=2)
    page.mouse.up()
    page.keyboard.press("l")
    size = page.locator(".size").first
    expect(size).to_have_text(re.compile(rf"^\d+ of {IMAGES} images$"))
    page.wait_for_url("**sel=lasso:**")
    chosen, address = size.text_content(), page.evaluate("location.hash")
    page.evaluate("location.hash = ''")
    expect(size).to_have_text(f"{IMAGES} images")
    page.evaluate("address => { location.hash = address }", address)
    expect(size).to_have_text(chosen)
    assert 0 < int(chosen.split()[0]) < IMAGES and left < middle


def test_the_grid_holds_what_is_on_the_screen_sorts_picks_and_exports(page):
    grid = page.get_by_role("listbox", name="Images", exact=True)
    expect(grid.locator(".tile .name").first).to_have_text(re.compile(r"\.png$"))
    assert 0 < grid.locator(".tile").count() < IMAGES
    page.select_option("#sort", "brightness")
    expect(grid.locator(".caption").first).to_contain_text("brightness")
    values = [float(text.split()[-1]) for text in grid.locator(".caption").all_text_contents()]
    assert all(one <= other for one, other in pairwise(values))
    page.get_by_role("button", name="Reverse the order").click()
    expect(grid.locator(".caption").first).not_to_contain_text(str(values[0]))
    grid.focus()
    page.keyboard.press("End")
    expect(grid.locator(".active")).to_have_attribute("aria-posinset", str(IMAGES))
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.locator(".size").first).to_contain_text("2 picked")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Paths").first.click()
    assert len(saved.value.path().read_text().splitlines()) == 2
    page.get_by_role("button", name="Pick all", exact=True).click()
    expect(page.locator(".size").first).to_contain_text(f"{IMAGES} picked")
    page.get_by_role("button", name="Pick none").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export CSV").first.click()
    assert len([*csv.DictReader(io.StringIO(saved.value.path().read_text()))]) == IMAGES


def test_an_image_opens_with_facts_neighbours_and_the_similarity_of_its_patches(page):
    page.get_by_role("listbox", name="Images", exact=True).locator(".tile").nth(3).click()
    detail = page.locator(".detail")
    expect(detail.locator("h2")).to_have_text(re.compile(r"scene-\d{3}\.png|copy"))
    expect(detail.locator("dl")).to_contain_text("48 × 48 px")
    expect(detail.locator(".neighbours .item")).to_have_count(12)
    expect(detail.locator(".neighbours .note").first).to_have_text(re.compile(r"^[\d.]+ % · [\d.-]+$"))
    with page.expect_response("**/similarity?x=*") as answer:
        detail.locator(".picture-frame").hover()
    assert answer.value.ok
    expect(detail.locator(".picture-frame.compared")).to_be_visible()
    painted = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    assert detail.locator("canvas").evaluate(painted)
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_a_box_finds_regions_with_the_place_in_each_result(page):
    tile = page.get_by_role("listbox", name="Images", exact=True).locator(".tile").nth(5)
    tile.click()
    expect(page.locator(".detail h2")).to_have_text(tile.locator(".name").inner_text())
    page.wait_for_load_state("networkidle")  # what is above the picture has its height then
    box = page.locator(".picture-frame.enlarged").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.6, steps=3)
    page.mouse.up()
    expect(page.locator(".chip")).to_contain_text("a box of")
    results = page.get_by_role("listbox", name="Results")
    expect(results.locator(".tile .box").first).to_be_visible()
    inside = results.locator(".tile").first.evaluate(
        """tile => {
          const [outer, box] = ['.picture', '.box'].map((name) => tile.querySelector(name).getBoundingClientRect());
          return box.left >= outer.left - 1 && box.right <= outer.right + 1 && box.width > 5 && box.height > 5;
        }"""
    )
    assert inside
    page.wait_for_url("**box=0.2**")


def test_more_and_less_like_this_change_the_search(page):
    page.get_by_role("listbox", name="Images", exact=True).locator(".tile").nth(2).click()
    page.get_by_role("button", name="Find similar").click()
    results = page.get_by_role("listbox", name="Results")
    expect(results.locator(".tile .name").first).to_have_text(re.compile(r"\.png$"))
    first = names(results)[0]
    results.locator(".tile").first.click()
    page.get_by_role("button", name="Less like this").click()
    expect(page.locator(".chip.unlike")).to_contain_text(first)
    expect(results.locator(".tile .name").first).not_to_have_text(first)
    page.get_by_role("button", name="More like this").click()
    expect(page.locator(".chip.unlike")).to_have_count(0)
    expect(page.locator(".chip")).to_have_count(2)


def test_a_picture_from_outside_is_chosen_dropped_or_pasted(page, visit):
    picture = next((visit.home / "scenes").rglob("scene-000.png"))
    given = """async ([kind, bytes]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], 'outside.png', { type: 'image/png' }));
      const event = kind === 'paste'
        ? new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true })
        : new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }"""
    for number, kind in enumerate(("file", "paste", "drop"), 1):
        if kind == "file":
            page.set_input_files("input[type=file]", picture)
        else:
            page.evaluate(given, [kind, [*picture.read_bytes()]])
        expect(page.locator(".chip")).to_contain_text("your picture")
        page.wait_for_url(f"**image=u{number}**")
    expect(page.locator(".detail h2")).to_have_text("Your picture")
    expect(page.locator(".neighbours .note").first).to_contain_text("1.000")


def test_a_filter_is_checked_by_the_server_whose_sentence_is_shown(page):
    page.keyboard.press("/")
    page.keyboard.type("class = 'cube' and widht > 3")
    page.keyboard.press("Enter")
    expect(page.locator("#where-error")).to_contain_text("widht")
    expect(page.locator("#where")).to_have_attribute("aria-invalid", "true")
    page.fill("#where", "class = 'cube' and width >= 48")
    page.keyboard.press("Enter")
    expect(page.locator(".size").first).to_have_text(re.compile(rf"^\d+ of {IMAGES} images$"))
    expect(page.locator("#where-error")).to_be_hidden()
    page.fill("#where", "width > 9999")
    page.keyboard.press("Enter")
    expect(page.locator("#panel-images .empty")).to_contain_text("No image fulfils the filter")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".size").first).to_have_text(f"{IMAGES} images")


def test_lists_are_gone_through_by_keyboard(page):
    page.get_by_role("tab", name="Duplicates").click()
    group = page.locator("#panel-duplicates .row")
    expect(group.first.locator(".keep")).to_have_text("keep")
    expect(group.first.locator(".copy").first).to_have_text("exact file")
    page.get_by_role("tab", name="Outliers").click()
    rows = page.locator("#panel-outliers .row")
    expect(rows.first).to_contain_text("score")
    page.keyboard.press("g")
    expect(rows.nth(0).locator(".item").first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    page.keyboard.press("ArrowRight")
    expect(rows.nth(1).locator(".item").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    path = rows.nth(1).locator(".item").nth(1).get_attribute("title")
    expect(page.locator(".detail h2")).to_have_text(path.split("/")[-1])
    page.keyboard.press("5")
    page.locator("#panel-clusters .row").first.get_by_role("button", name="Show its images").click()
    expect(page.locator(".size").first).to_have_text(re.compile(rf"^\d+ of {IMAGES} images$"))


def test_a_few_examples_rank_the_rest(page):
    grid = page.get_by_role("listbox", name="Images", exact=True)
    grid.focus()
    for key in ("y", "ArrowRight", "y", "End", "n", "ArrowLeft", "n"):
        page.keyboard.press(key)
    page.get_by_role("tab", name="Label").click()
    expect(page.locator(".answers.yes .mark")).to_have_count(2)
    scores = page.get_by_role("listbox", name="Images by score")
    expect(scores.locator(".tile.yes").first).to_be_visible()
    values = [float(text.split()[-1]) for text in scores.locator(".caption").all_text_contents()]
    assert values == sorted(values, reverse=True) and 0 <= values[-1] <= values[0] <= 1
    page.fill("#label-name", "mine")
    page.fill("#least", str(values[3]))
    with page.expect_download() as saved:
        page.locator("#panel-label").get_by_role("button", name="Export CSV").click()
    rows = [*csv.DictReader(io.StringIO(saved.value.path().read_text()))]
    assert 1 <= len(rows) < IMAGES and "mine" in "".join(map(str, rows[0].items()))
    page.get_by_role("button", name="Colour the map").last.click()
    expect(page.locator("#colour")).to_have_value("score")


def test_a_detector_of_selected_images_ranks_all_and_shows_where_they_are_odd(page):
    page.get_by_role("tab", name="Anomalies").click()
    begin = page.get_by_role("button", name="these are normal")
    expect(begin).to_be_disabled()
    page.fill("#where", "class = 'cube'")
    page.keyboard.press("Enter")
    expect(begin).to_have_text(re.compile(r"^\d+ selected images: these are normal$"))
    begin.click()
    table = page.get_by_role("link", name="Export CSV")
    expect(table).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    listed = page.get_by_role("listbox", name="Images by oddness")
    expect(listed.locator(".tile .caption").first).to_have_text(re.compile(r"^score [\d.]+$"))
    values = [float(text.split()[-1]) for text in listed.locator(".caption").all_text_contents()]
    assert values == sorted(values, reverse=True)
    with page.expect_download() as saved:
        table.click()
    rows = [*csv.DictReader(io.StringIO(saved.value.path().read_text()))]
    assert len(rows) == IMAGES and float(rows[0]["score"]) == pytest.approx(values[0], rel=1e-3)
    page.locator("#panel-anomalies").get_by_role("button", name="Colour the map").click()
    expect(page.locator("#colour")).to_have_value("odd")
    listed.locator(".tile").first.click()
    page.select_option("#layer", "odd")
    expect(page.locator(".layer-told")).to_contain_text(f"Score {values[0]:.3g}")
    expect(page.locator(".picture-frame.compared")).to_be_visible()
    page.locator("#panel-anomalies").get_by_role("button", name="Forget").click()
    expect(listed).to_be_hidden()
    expect(page.locator("#layer")).to_have_value("similarity")


def test_what_the_model_expects_in_a_box_is_shown_by_real_patches(page):
    page.get_by_role("listbox", name="Images", exact=True).locator(".tile").nth(4).click()
    page.select_option("#layer", "energy")
    expect(page.locator(".layer-told")).to_have_text(re.compile(r"^Energy [\d.]+ \(dark\) to [\d.]+ \(bright\)\.$"))
    page.select_option("#layer", "similarity")
    frame = page.locator(".picture-frame.enlarged")
    for start, end, said in ((0.3, 0.7, None), (0, 1, "patches visible")):
        frame.scroll_into_view_if_needed()
        box = frame.bounding_box()
        page.mouse.move(box["x"] + box["width"] * start + 1, box["y"] + 1)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * end, box["y"] + box["height"] * end, steps=3)
        page.mouse.up()
        page.get_by_role("button", name="What the model expects here").click()
        if said is None:
            rows = page.locator(".expected li")
            expect(rows).to_have_count(6)  # 2 columns and 3 rows of 4 x 4 patches
            expect(rows.first.locator(".item")).to_have_count(5)
            expect(page.locator(".energies tbody tr").first).to_contain_text("true region")
            expect(page.locator(".filled canvas")).to_have_count(3)
        else:
            expect(page.locator(".expectation .error")).to_contain_text(said)
            expect(page.locator(".expected li")).to_have_count(0)
    page.keyboard.press("Escape")


def test_colours_are_light_or_dark(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Dark colours").click()
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Light colours").click()
    assert light != dark and page.evaluate(paper) == light


def test_everything_is_reached_by_keyboard_with_a_visible_focus(page):
    page.get_by_role("listbox", name="Images", exact=True).locator(".tile").first.click()
    expect(page.locator(".neighbours .item")).to_have_count(12)
    page.focus("#where")
    seen = []
    for _ in range(70):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const at = document.activeElement;
              const style = getComputedStyle(at);
              const visible = style.outlineStyle !== 'none' && style.outlineWidth !== '0px';
              return [at.id || at.classList[0] || at.tagName, at.tagName, visible];
            }"""
        )
        if found[1] != "BODY":
            seen.append(found)
        if found[0] == "where":
            break
    reached = {name for name, *_ in seen}
    assert {"where", "colour", "stage", "item", "tab-images", "sort", "grid", "picture-frame", "layer"} <= reached
    assert [name for name, _, visible in seen if not visible] == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("lasso")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_nothing_is_asked_of_other_machines_and_nothing_is_complained_of(visit):
    assert visit.requests and all(url.startswith((visit.server.address, "data:", "blob:")) for url in visit.requests)
    assert [line for line in visit.complaints if not REFUSED.search(line)] == []


def test_a_server_that_has_stopped_is_said(visit, page):
    visit.server.stop()
    page.wait_for_timeout(700)
    page.fill("#where", "width > 3")
    page.keyboard.press("Enter")
    expect(page.locator("#where-error")).to_contain_text("run openjepa explore again")
