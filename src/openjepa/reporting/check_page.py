"""The page of `openjepa data check`: what a set of images holds, and what is odd about it, with pictures."""

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from openjepa.data.storage import Skipped
from openjepa.evaluation.survey import Survey
from openjepa.reporting import charts
from openjepa.reporting.gallery import Tile, captioned
from openjepa.reporting.page import Html, facts, figure, folded, page, section, table, tag

LISTED = 200  # rows of a table of files


def check_page(
    title: str,
    wrong: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    surveys: Sequence[Survey],
    shown: Iterable[tuple[str, str, Sequence[Sequence[Tile]]]],
) -> str:
    """A whole HTML document.

    wrong   sentences, none where all is well; rows of the table, its head first; shown: title, sentence and rows of
            pictures of each thing found
    """
    badge = tag("span", "needs a look" if wrong else "nothing wrong", class_=f"badge {'warn' if wrong else 'good'}")
    verdict = tag("div", badge, tag("p", "; ".join(wrong) or "no file is unreadable or repeated"), class_="verdict")
    head = tag("header", tag("p", "openjepa data check", class_="over"), tag("h1", title), verdict)
    parts = [head, section("What there is", table(*_columns(rows)), *map(_classes, surveys))]
    parts += [_pictures(*part) for part in shown]
    parts += [_scatter(survey) for survey in surveys]
    parts += [_unreadable(survey.dataset.source, survey.unreadable) for survey in surveys if survey.unreadable]
    return page(f"{title} · openjepa data check", *parts)


def _columns(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    return rows[0], list(rows[1:])


def _classes(survey: Survey) -> Html:
    found = [
        folded(f"images of {survey.dataset.source} by {label}", facts((name, f"{n:,}") for name, n in names.items()))
        for label, names in survey.summary.classes.items()
    ]
    return Html("".join(found))


def _pictures(title: str, sentence: str, rows: Sequence[Sequence[Tile]]) -> Html:
    grids = [
        tag("div", *(captioned(tile) for tile in row), class_="pictures tiles", style="margin-bottom: 18px")
        for row in rows
    ]
    return section(title, tag("p", sentence), *grids)


def _scatter(survey: Survey) -> Html:
    caption = (
        "Every readable image by its mean and by the standard deviation of its grey values, at 64 px a side. Named are "
        "those that lie far from the median of all."
    )
    drawn = Html(charts.svg(scatter(survey), "brightness and contrast of every image"))
    return section(f"Brightness and contrast of {survey.dataset.source}", figure(drawn, caption, class_="wide"))


@charts.styled
def scatter(survey: Survey) -> Figure:
    """Contrast over brightness, in percent of full scale or in the images' own numbers."""
    raw = survey.summary.reading.values == "raw"
    scale, unit = (1, "") if raw else (100, " %")
    x, y = scale * survey.brightness, scale * survey.contrast
    chart = Figure((7.4, 3.2), layout="constrained")
    axes = chart.add_subplot()
    axes.plot(x, y, "o", color=charts.RUN, markersize=3, alpha=0.35, markeredgewidth=0, rasterized=len(x) > 5000)
    place = {int(index): row for row, index in enumerate(survey.kept)}
    for what, indices in survey.odd.items():
        for index in indices[:3]:
            row = place[index]
            name = f"{what}: {survey.dataset.paths[index].rpartition('/')[2][:28]}"
            axes.annotate(name, (x[row], y[row]), (4, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel("brightness")
    axes.set_ylabel("contrast")
    axes.xaxis.set_major_formatter("{x:g}" + unit)
    axes.yaxis.set_major_formatter("{x:g}" + unit)
    return chart


def _unreadable(source: str, unreadable: Skipped) -> Html:
    more = f" The first {LISTED} are listed." if len(unreadable) > LISTED else ""
    sentence = f"{len(unreadable):,} files of {source} are no images, or cannot be read.{more}"
    rows = table(("file", "reason"), unreadable[:LISTED], class_="words")
    return section(f"Left out of {source}", tag("p", sentence), rows)
