"""The page of `openjepa data check`: what the images are, pictures of everything that was found, and a chart."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from openjepa.evaluation.image_defects import Leak, Survey
from openjepa.reports import chart_style
from openjepa.reports.drawing import Tile, elided, file_name, tile_of
from openjepa.reports.html import render

SHOWN = 24  # groups, pairs or images in a section of pictures
LISTED = 200  # rows of a table of files
NAMED = 3  # points with names in the chart, of each kind
NAME_LENGTH = 28
OUTLIERS = {
    "dark": "far darker than the others",
    "bright": "far brighter than the others",
    "flat": "with far less contrast than the others",
    "harsh": "with far more contrast than the others",
}


class PictureSection(NamedTuple):
    title: str
    sentence: str
    rows: list[list[Tile]]


def check_page(
    title: str,
    wrong: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    surveys: Sequence[Survey],
    leaks: Sequence[Leak],
) -> str:
    """A whole HTML document.

    wrong  sentences, none where nothing is wrong
    rows   of the table of counts, its head first
    leaks  images of the second source that are also in the first
    """
    sentence = "; ".join(wrong) or "no file is unreadable or repeated"
    badge = "needs a look" if wrong else "nothing wrong"
    return render(
        "data_check.html",
        title=title,
        verdict={"text": badge, "sentence": sentence},
        rows=rows,
        surveys=surveys,
        pictures=picture_sections(surveys, leaks),
        charts=[(survey.dataset.source, brightness_chart(survey)) for survey in surveys],
        listed=LISTED,
    )


def picture_sections(surveys: Sequence[Survey], leaks: Sequence[Leak]) -> Iterator[PictureSection]:
    """A section of pictures for each kind of thing that was found."""
    if leaks:
        here, other = surveys
        rows = [[_tile(other, leak.other), _tile(here, leak.here, "equal" * leak.equal)] for leak in leaks[:SHOWN]]
        sentence = f"Left, an image of {other.dataset.source}; right, one of {here.dataset.source} that looks like it."
        yield PictureSection("In both sources", sentence + _more(leaks), rows)
    for one in surveys:
        yield from _pictures_of(one)


def _pictures_of(one: Survey) -> Iterator[PictureSection]:
    place, source = {path: i for i, path in enumerate(one.dataset.paths)}, one.dataset.source
    if one.exact:
        readable = set(one.kept.tolist())  # equal files can be equally damaged
        groups = [[place[path] for path in group if place[path] in readable] for group in one.exact]
        sentence = "A row for each group of files with equal bytes." + _more(groups)
        yield PictureSection(f"Equal files in {source}", sentence, _rows(one, groups))
    if one.near:
        sentence = "Images that differ only in size, quality or brightness; a row for each group." + _more(one.near)
        yield PictureSection(f"Images of {source} that look the same", sentence, _rows(one, one.near))
    for kind, indices in one.odd.items():
        if indices:
            sentence = "The most extreme first." + _more(indices)
            yield PictureSection(f"Images of {source} {OUTLIERS[kind]}", sentence, _rows(one, [indices]))


def _rows(one: Survey, groups: Sequence[Sequence[int]]) -> list[list[Tile]]:
    return [[_tile(one, index) for index in group[:SHOWN]] for group in groups[:SHOWN] if group]


def _more(found: Sequence[Any]) -> str:
    return f" The first {SHOWN} of {len(found):,} are shown." if len(found) > SHOWN else ""


def _tile(one: Survey, index: int, *lines: str) -> Tile:
    return tile_of(one.dataset, index, after=lines)


@chart_style.styled
def brightness_chart(survey: Survey) -> Figure:
    """Contrast over brightness, in percent of full scale or in the images' own numbers; outliers with their names."""
    raw = survey.summary.pixel_format.values == "raw"
    scale, unit = (1, "") if raw else (100, " %")
    x, y = scale * survey.brightness, scale * survey.contrast
    figure = Figure((7.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(x, y, "o", color=chart_style.RUN, markersize=3, alpha=0.35, markeredgewidth=0, rasterized=len(x) > 5000)
    axes.set_xlabel("brightness")
    axes.set_ylabel("contrast")
    axes.xaxis.set_major_formatter("{x:g}" + unit)
    axes.yaxis.set_major_formatter("{x:g}" + unit)
    row_of = {int(index): row for row, index in enumerate(survey.kept)}
    kinds: dict[int, list[str]] = {}
    for kind, indices in survey.odd.items():
        for index in indices[:NAMED]:
            kinds.setdefault(index, []).append(kind)
    named = [(f"{', '.join(kinds[index])}: {_short(survey, index)}", row_of[index]) for index in kinds]
    label_points(figure, axes, [(name, (x[row], y[row])) for name, row in named], np.stack([x, y], 1))
    return figure


def _short(survey: Survey, index: int) -> str:
    return elided(file_name(survey.dataset.paths[index]), NAME_LENGTH)


# Points from a named point to its name, the side of the name that touches and its line; the usual place first.
OFFSETS = tuple((dx, dy, side) for dx, side in ((5, "left"), (-5, "right"), (0, "center")) for dy in (4, -9, 12, -17))
WIDER = 1.25  # than here are names in the font of a reader's browser, at most


def label_points(
    figure: Figure, axes: Axes, names: Sequence[tuple[str, tuple[float, float]]], points: np.ndarray
) -> None:
    """Write names beside points (x, y), where they hide the fewest of all `points` [n, 2].

    A name that would overlap another or leave the axes is left out.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # the extents below need the final layout
    places = axes.transData.transform(points)
    placed: list[Bbox] = []
    for name, point in names:
        free: list[tuple[int, int, Bbox, Annotation]] = []
        for rank, (dx, dy, side) in enumerate(OFFSETS):
            label = axes.annotate(name, point, (dx, dy), textcoords="offset points", ha=side, fontsize=7)
            label.set_in_layout(False)
            extent = label.get_window_extent(canvas.get_renderer()).expanded(WIDER, 1.1)
            inside = Bbox.intersection(extent, axes.bbox)
            if inside is not None and np.allclose(inside.extents, extent.extents) and not extent.count_overlaps(placed):
                free.append((int(extent.count_contains(places)), rank, extent, label))
            else:
                label.remove()
        for number, (_, _, extent, label) in enumerate(sorted(free, key=lambda each: each[:2])):
            if number:
                label.remove()
            else:
                placed.append(extent)
