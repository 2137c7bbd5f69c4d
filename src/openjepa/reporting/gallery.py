"""What the report shows on the user's own images: masks, patch maps, neighbours."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from openjepa.core.mask_settings import Masks
from openjepa.reporting import charts
from openjepa.reporting.coverage import Coverage
from openjepa.reporting.page import Html, figure, picture, section, tag
from openjepa.reporting.pictures import at_display_size, draw_masks

SMOOTH_FROM = 160


class Tile(NamedTuple):
    """An image uint8 [H, W, 3], its name, and the lines to stand below it."""

    image: np.ndarray
    path: str
    words: tuple[str, ...]


def masks(images: Sequence[np.ndarray], drawn: Sequence[Masks], coverage: Coverage) -> Html:
    """Masks drawn on images uint8 [H, W, 3], one each, and how often each patch was context and target."""
    grid_size = coverage.context.shape
    tiles = [
        picture(draw_masks(at_display_size(image, grid_size), *mask[:2], grid_size), f"masks of step {step}")
        for step, (image, mask) in enumerate(zip(images, drawn, strict=False))
    ]
    parts = []
    if tiles:
        caption = (
            "Bright: the context, all that the encoder sees. In colour: the target blocks, whose representations are "
            "predicted from it. Dark: neither. One image for each of the first steps."
        )
        parts.append(figure(tag("div", *tiles, class_="pictures four"), caption))
    shares = {name: coverage.shares(name) for name in ("context", "target")}
    chart = Html(charts.svg(charts.coverage_chart(shares), "how often each patch is context and target"))
    parts.append(figure(chart, coverage_caption(coverage), class_="wide"))
    return section("What was hidden, what was asked", *parts)


def coverage_caption(coverage: Coverage) -> str:
    rows, columns = coverage.context.shape
    never = {name: int((getattr(coverage, name) == 0).sum()) for name in ("context", "target")}
    unused = " and ".join(f"{count} are never {name}" for name, count in never.items() if count)
    return (
        f"How often each of the {rows}x{columns} patches was context and target in {coverage.images:,} "
        f"sampled images; {f'of the patches {unused} (crossed)' if unused else 'every patch is used as both'}."
    )


def maps(images: Sequence[np.ndarray], trained: np.ndarray, untrained: np.ndarray) -> Html:
    """Patch maps, uint8 [B, rows, columns, 3], of the trained and of an untrained encoder below their images."""
    rows = {"image": images, "trained": trained, "untrained": untrained}
    cells = [part for name, row in rows.items() for part in (tag("span", name), *(_tile(image, name) for image in row))]
    grid = tag("div", *cells, class_="pictures rows", style=f"--count: {len(images)}")
    caption = (
        "The patch representations of all these images, their three main directions of variation as red, green and "
        "blue: patches of like colour are alike to the encoder. Training is worth what the second row has and the "
        "third has not; maps that are alike whatever the image show position, not content."
    )
    return section("What the patches say", figure(grid, caption))


def neighbours(rows: Sequence[Sequence[Tile]], searched: int) -> Html:
    """A row for each query, the query first; `searched` other images were compared with it."""
    cells = [cell for query, *others in rows for cell in (captioned(query), tag("div"), *map(captioned, others))]
    grid = tag("div", *cells, class_="pictures neighbours", style=f"--count: {len(rows[0]) - 1}")
    caption = (
        f"At the left of each row an image, then those of {searched:,} others whose embeddings are most like its own, "
        "with the cosine between them. Labels, where there are any, were never shown to the encoder."
    )
    return section("What looks alike to the encoder", figure(grid, caption))


def captioned(tile: Tile) -> Html:
    """A picture with its lines below it."""
    return tag("div", _tile(tile.image, tile.path), *(tag("span", word) for word in tile.words))


def _tile(image: np.ndarray, name: str) -> Html:
    small = {"class_": "pixelated"} if max(image.shape) < SMOOTH_FROM else {}
    return picture(image, name, **small)
