"""The results of `openjepa data check`: a table for the terminal, plain values for JSON, and the page."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure
from rich import box
from rich.markup import escape
from rich.table import Table

from openjepa.console import console, counting
from openjepa.data.crops import resize_centre_crop
from openjepa.data.storage.storage import Skipped, is_lost
from openjepa.data.summary import Summary, counted
from openjepa.evaluation.survey import Leak, Survey, look
from openjepa.reports import charts
from openjepa.reports.html import Html, facts, figure, folded, page, section, table, tag
from openjepa.reports.pictures import Tile, as_picture, captioned
from openjepa.runs.images import open_images

TILE = (112, 112)
SHOWN = 24  # groups, pairs or images in a picture section
ODD = {
    "dark": "far darker than the others",
    "bright": "far brighter than the others",
    "flat": "of far less contrast than the others",
    "harsh": "of far more contrast than the others",
}


def survey(source: str, workers: int, **chosen: Any) -> Survey:
    dataset, summary = open_images(source, max_skipped=1.0, **chosen)
    with counting(f"looking at every image of {source}") as progress:
        return look(dataset, summary, workers, progress)


def unreadable(survey: Survey) -> Skipped:
    """Of the files that are left out, those that might have been images."""
    return [(path, reason) for path, reason in survey.unreadable if is_lost(reason)]


def wrong_in(surveys: Sequence[Survey], leaks: Sequence[Leak]) -> list[str]:
    """A sentence for each kind of thing that is wrong."""
    found = []
    for one in surveys:
        source, repeated = one.dataset.source, sum(len(group) - 1 for group in one.exact)
        mixed, alike = len(one.two_classes()), sum(len(group) - 1 for group in one.near)
        counts = (
            (len(unreadable(one)), "unreadable file", ""),
            (repeated, "duplicate", " of another file"),
            (mixed, "group", " of equal files in more than one class"),
            (alike, "image", " with the looks of another"),
        )
        found += [f"{counted(count, noun)}{what} in {source}" for count, noun, what in counts if count]
    if leaks:
        here, other = (one.dataset.source for one in surveys)
        found.append(f"{counted(len(leaks), 'image')} of {other} that {here} has too")
    return found


def table_rows(surveys: Sequence[Survey], leaks: Sequence[Leak]) -> list[tuple[str, ...]]:
    """The head, and a row for each thing that is counted; a column for each source."""
    columns = [_column(one) for one in surveys]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    if len(surveys) > 1:
        equal = sum(leak.equal for leak in leaks)
        rows.append(
            (
                f"also in {surveys[0].dataset.source}",
                "",
                f"{counted(len(leaks), 'image')}, {equal:,} equal",
            )
        )
    return [("", *(one.dataset.source for one in surveys)), *rows]


def _column(one: Survey) -> dict[str, str]:
    told = dict(line.split(": ", 1) for line in one.summary.lines()[1:])
    files, copies = sum(map(len, one.exact)), sum(map(len, one.near))
    bad = unreadable(one)
    others = len(one.unreadable) - len(bad)
    odd = ", ".join(f"{len(found):,} {what}" for what, found in one.odd.items() if found)
    return {
        "images": f"{len(one.kept):,}",
        "sizes": told["sizes"],
        "modes": told["modes"],
        "read as": one.summary.pixel_format.in_words(),
        "classes": _classes(one.summary),
        "unreadable": f"{counted(len(bad), 'file')}" + (f" (and {others:,} of other kinds)" if others else ""),
        "exact duplicates": f"{counted(files, 'file')} in {counted(len(one.exact), 'group')}" if files else "none",
        "in two classes": counted(len(one.two_classes()), "group") if one.two_classes() else "none",
        "near duplicates": f"{counted(copies, 'image')} in {counted(len(one.near), 'group')}" if copies else "none",
        "far from the others": odd or "none",
    }


def _classes(summary: Summary) -> str:
    found = [
        f"{label}: {counted(len(counts), 'value')}, {min(counts.values()):,} to {max(counts.values()):,} images each"
        for label, counts in summary.classes.items()
    ]
    return "; ".join(found) or "none"


def show(rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name in rows[0]:
        table.add_column(escape(name), overflow="fold")
    for row in rows[1:]:
        table.add_row(*map(escape, row))
    console.print(table)


def picture_rows(surveys: Sequence[Survey], leaks: Sequence[Leak]) -> Iterator[tuple[str, str, list[list[Tile]]]]:
    """Title, sentence and rows of pictures of everything that was found."""
    if leaks:
        here, other = surveys
        rows = [[_tile(other, leak.other), _tile(here, leak.here, "equal" * leak.equal)] for leak in leaks[:SHOWN]]
        sentence = f"Left an image of {other.dataset.source}, right one of {here.dataset.source} that looks like it."
        yield "In both sources", sentence + _more(leaks), rows
    for one in surveys:
        place, source = {path: i for i, path in enumerate(one.dataset.paths)}, one.dataset.source
        if one.exact:
            readable = set(one.kept.tolist())  # equal files can be equally damaged
            groups = [[place[path] for path in group if place[path] in readable] for group in one.exact]
            rows = [[_tile(one, index) for index in group[:SHOWN]] for group in groups[:SHOWN] if group]
            yield f"Equal files in {source}", "A row for each group." + _more(groups), rows
        if one.near:
            rows = [[_tile(one, index) for index in group[:SHOWN]] for group in one.near[:SHOWN]]
            sentence = "Images whose thumbnails are the same but for size, quality or brightness; a row for each group."
            yield f"Images of {source} that look the same", sentence + _more(one.near), rows
        for what, indices in one.odd.items():
            if indices:
                rows = [[_tile(one, index) for index in indices[:SHOWN]]]
                yield f"Images of {source} {ODD[what]}", "The farthest first." + _more(indices), rows


def _more(found: Sequence) -> str:
    return f" The first {SHOWN} of {len(found):,} are shown." if len(found) > SHOWN else ""


def _tile(one: Survey, index: int, *words: str) -> Tile:
    image = as_picture(resize_centre_crop(one.dataset.load(index), TILE))
    named = [names[one.dataset.labels[label][index]] for label, names in one.dataset.classes.items()][:1]
    path = one.dataset.paths[index]
    return Tile(image, path, (path.rpartition("/")[2], *named, *filter(None, words)))


def findings(surveys: Sequence[Survey], leaks: Sequence[Leak]) -> dict:
    """What was found, by source, in paths."""
    found: dict[str, Any] = {}
    for one in surveys:
        paths = one.dataset.paths
        found[one.dataset.source] = {
            "images": len(one.kept),
            "unreadable": unreadable(one),
            "exact": one.exact,
            "near": [[paths[index] for index in group] for group in one.near],
            "odd": {what: [paths[index] for index in indices] for what, indices in one.odd.items()},
        }
    pairs = [(surveys[1].dataset.paths[leak.other], surveys[0].dataset.paths[leak.here]) for leak in leaks]
    return {"sources": found, "leaks": pairs}


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
    parts = [head, section("What there is", table(*_columns(rows)), *map(_class_section, surveys))]
    parts += [_pictures(*part) for part in shown]
    parts += [_scatter(survey) for survey in surveys]
    parts += [_unreadable(survey.dataset.source, survey.unreadable) for survey in surveys if survey.unreadable]
    return page(f"{title} · openjepa data check", *parts)


def _columns(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    return rows[0], list(rows[1:])


def _class_section(survey: Survey) -> Html:
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
    raw = survey.summary.pixel_format.values == "raw"
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
