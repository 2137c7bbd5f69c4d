"""The page of `openjepa imagine`: what a predictor expects in a hidden region, beside what is there."""

from collections.abc import Iterator
from math import floor
from typing import NamedTuple

import numpy as np

from openjepa.anomaly.imagination import with_region
from openjepa.data.crops import as_picture
from openjepa.indexing.expectation import IMAGE, NOISE, PASTED, REGION, Content, Expectation
from openjepa.indexing.regions import in_pixels
from openjepa.reports.anomaly.imagine_pictures import (
    filled,
    hidden_picture,
    in_surroundings,
    outlined,
    pasted,
)
from openjepa.reports.drawing import CAPTION, Tile, at_display_size, elided, file_name
from openjepa.reports.html import render

ROWS = 36  # hidden patches that are shown one by one, at most


class Drawn(NamedTuple):
    """A picture with the lines below it, for the first rows of the page."""

    image: np.ndarray
    name: str
    lines: tuple[str, ...]


def imagine_page(found: Expectation) -> str:
    """A whole HTML document."""
    chosen = shown_rows(len(found.places))
    return render(
        "imagine.html",
        title=file_name(found.asked.shown.path),
        model=found.energies.encoder.name,
        lines=found.lines(),
        own=found.source is None,
        draws=len(found.imagined.hidden),
        expected=[*_expected(found)],
        contents=_table(found.contents()),
        examples=[_example(found, content) for content in found.contents()],
        patches=[_patch_row(found, row) for row in chosen],
        left_out=len(found.places) - len(chosen),
    )


def shown_rows(hidden: int) -> list[int]:
    """Which hidden patches are shown one by one: all, or as many evenly spread."""
    return np.unique(np.linspace(0, hidden - 1, min(hidden, ROWS)).round().astype(int)).tolist()


def _expected(found: Expectation) -> Iterator[Drawn]:
    """The hidden image, the nearest real patches in the place of each draw, and the truth."""
    imagined, grid_size, picture = found.imagined, found.energies.grid_size, found.asked.shown.picture
    window, first = imagined.window, imagined.hidden[0].context
    yield Drawn(hidden_picture(picture, window, first, grid_size, blank=True), "what is visible", ("visible",))
    for draw, (context, _) in enumerate(imagined.hidden):
        first_of = [found.nearest(draw, row)[0] for row in range(len(found.places))]
        patches = [(one.image, one.place) for one in first_of]
        expected = filled(picture, window, patches, lambda number: found.shown(number).picture, grid_size)
        image = hidden_picture(expected, window, context, grid_size)
        energy = float(imagined.true[draw].mean())
        lines = f"draw {draw}: from {len(context):,} patches", f"energy of the truth {energy:.3f}"
        yield Drawn(image, f"the nearest real patches of draw {draw}", lines)
    yield Drawn(hidden_picture(picture, window, first, grid_size), "the true region", ("the truth",))


def _table(contents: list[Content]) -> list[list[str]]:
    """A row for each content: its energy, over that of the true region, and its range over the draws."""
    true = float(np.mean(contents[0].means))
    rows = []
    for content in contents:
        mean, draws = float(np.mean(content.means)), content.means
        ratio = f"{mean / true:.2f}" if true > 0 else "–"
        count = content.energies.shape[1]
        rows.append([content.name, f"{mean:.3f}", f"{min(draws):.3f} to {max(draws):.3f}", ratio, f"{count}"])
    return rows


def _example(found: Expectation, content: Content) -> Tile:
    """The first of a content: pasted into the image, or in its own image."""
    imagined, grid_size, own = found.imagined, found.energies.grid_size, found.asked.shown
    shown = found.shown(imagined.images[0]) if content.name in (IMAGE, PASTED) else own
    picture = shown.picture if content.name == IMAGE else own.picture
    if content.name == PASTED:
        picture = pasted(picture, imagined.window, shown.picture, imagined.window, grid_size)
    elif content.name == REGION:
        picture = pasted(picture, imagined.window, picture, imagined.regions[0], grid_size)
    elif content.name == NOISE:
        noise = with_region(found.asked.image, imagined.window, found.energies.target.patch_size, imagined.noise[0])
        picture = as_picture(noise.permute(1, 2, 0).numpy())
    lines = content.name, f"energy {float(content.energies[:, 0].mean()):.3f}", file_name(shown.path)
    large = outlined(at_display_size(picture, grid_size), imagined.window, grid_size)
    return Tile(large, shown.path, _lines(*lines))


def _patch_row(found: Expectation, row: int) -> list[Tile]:
    """A hidden patch and the real ones nearest to what is expected there, each in its surroundings."""
    place, grid_size = found.places[row], found.energies.grid_size
    own, true = found.asked.shown, float(found.imagined.true[0, row])
    near = f"nearer than {floor(1000 * float(found.closer_than()[0, row])) / 10:.1f} %"
    lines = ("true", near, in_pixels(found.box_of(-1, place)), f"energy {true:.3f}")
    tiles = [Tile(in_surroundings(own.picture, place, grid_size), own.path, _lines(*lines))]
    for one in found.nearest(0, row):
        shown, at = found.shown(one.image), in_pixels(found.box_of(one.image, one.place))
        named = _lines(f"energy {one.energy:.3f}", at, file_name(shown.path))
        tiles.append(Tile(in_surroundings(shown.picture, one.place, grid_size), shown.path, named))
    return tiles


def _lines(*lines: str) -> tuple[tuple[str, str], ...]:
    return tuple((elided(line, CAPTION), line) for line in lines if line)
