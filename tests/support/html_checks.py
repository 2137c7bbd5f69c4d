"""What every page must be: one file that needs nothing, runs nothing, and treats names as text."""

import re
from html.parser import HTMLParser

VOID = ("meta", "link", "img")


class Tags(HTMLParser):
    """The start tags of a page with their attributes; asserts that elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_stands_alone(text: str) -> Tags:
    """Assert that a page has no script, no handler and no outside source, and forbids itself the network."""
    page = Tags(text)
    assert "script" not in {name for name, _ in page.seen}
    assert not any(key.startswith("on") for _, attributes in page.seen for key in attributes)
    for _, attributes in page.seen:
        for key in ("src", "href", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("data:", "#"))
    assert not re.search(r"url\((?!#)|@import", text)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'") and "script-src" not in policy
    assert text.count("<figcaption>") == text.count("<figure")
    return page
