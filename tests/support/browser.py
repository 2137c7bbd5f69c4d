"""Chromium, to look at pages as a reader does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


@contextmanager
def opened(chromium: str, path: Path, width: int) -> Iterator[Page]:
    """A page in a window of `width` pixels, with everything unfolded; `chromium` is the browser's path."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto(path.resolve().as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
            yield page
        finally:
            browser.close()
