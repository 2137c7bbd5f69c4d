"""Pages in a browser, on a screen and on a phone: pictures in an even grid, and nothing wider than the window."""

import pytest
from support.browser import opened
from support.html_checks import check_stands_alone
from support.odd_images import CLASSES, draw_odd_images

import openjepa

TRAINING = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "context_ratio": 0.2, "steps": 2, "workers": 0}
WIDTHS = (1280, 420)
# Elements that reach beyond the window, unless they are in a box that scrolls.
TOO_WIDE = """() => [...document.querySelectorAll('body *')].filter(one =>
  one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.scroll, .wide')
).map(one => one.tagName + ' ' + one.textContent.slice(0, 60))"""
SIZES = """selector => [...document.querySelectorAll(selector)].map(one => {
  const box = one.getBoundingClientRect(); return [Math.round(box.width), Math.round(box.height)] })"""
LINES = """() => [...document.querySelectorAll('.tile span')].map(one => one.getBoundingClientRect().height)"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The report, the evaluation page and the data-check page of images with odd sizes and names."""
    home = tmp_path_factory.mktemp("odd")
    images, run = str(draw_odd_images(home / "images")), home / f"run {CLASSES[0]}"
    openjepa.pretrain(images, out=run, **TRAINING)
    openjepa.evaluate(str(run), images, tasks="knn,probe-appearance", page=home / "evaluation.html", workers=0)
    openjepa.data_check(images, out=home / "check.html", workers=0)
    return {
        "report": openjepa.report(run, data=images),
        "evaluation": home / "evaluation.html",
        "check": home / "check.html",
    }


def at_widths(page):
    """The page in a window of each width, one after the other: to start a browser for each takes long."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        yield width


@pytest.mark.parametrize("name", ["report", "evaluation", "check"])
def test_nothing_is_wider_than_the_window(chromium, pages, name):
    with opened(chromium, pages[name], WIDTHS[0]) as page:
        for width in at_widths(page):
            assert page.evaluate(TOO_WIDE) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_neighbours_stand_in_an_even_grid_with_their_names(chromium, pages):
    with opened(chromium, pages["report"], WIDTHS[0]) as page:
        for _ in at_widths(page):
            sizes = page.evaluate(SIZES, ".neighbours img")
            assert len(sizes) == 6 * 7 and len(set(map(tuple, sizes))) == 1
            assert sizes[0][0] == sizes[0][1] > 60
            assert max(page.evaluate(LINES)) < 40  # two lines of text
        titles = page.eval_on_selector_all(".neighbours img", "all => all.map(one => one.title)")
        assert all(title.split("/")[0] in CLASSES and title.endswith(".png") for title in titles)


def test_pictures_of_a_data_check_are_of_one_size(chromium, pages):
    with opened(chromium, pages["check"], WIDTHS[0]) as page:
        for _ in at_widths(page):
            assert len(set(map(tuple, page.evaluate(SIZES, ".tiles img")))) == 1


@pytest.mark.parametrize("name", ["report", "evaluation", "check"])
def test_odd_names_stay_text(pages, name):
    text = pages[name].read_text()
    check_stands_alone(text)
    assert "<script" not in text and "<b>写真" not in text


def test_every_class_and_file_name_is_in_the_report(pages):
    text = pages["report"].read_text()
    for name in (
        "&lt;script&gt;alert(1)&lt;",
        "[bold red]markup[_red]",
        CLASSES[0],
        CLASSES[2],
        "&lt;b&gt;写真&amp;amp;",
    ):
        assert name in text
