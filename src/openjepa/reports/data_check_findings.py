"""What `openjepa data check` found, as sentences, as a table and as plain values."""

from collections.abc import Sequence
from typing import Any

from openjepa.console import counting, show_table
from openjepa.data.proportions import proportions_in_words, seen_in_words
from openjepa.data.storage.storage import Skipped, is_lost
from openjepa.data.summary import Summary, counted
from openjepa.evaluation.image_defects import Leak, Survey, look
from openjepa.runs.images import open_images, suggested
from openjepa.runs.settings import size_in_words


def survey(source: str, workers: int, **chosen: Any) -> Survey:
    """Open a source, however many of its files are unreadable, and look at every image."""
    dataset, summary = open_images(source, max_skipped=1.0, **chosen)
    with counting(f"looking at every image of {source}") as progress:
        return look(dataset, summary, workers, progress)


def unreadable(survey: Survey) -> Skipped:
    """Files that were left out although they might be images."""
    return [(path, reason) for path, reason in survey.unreadable if is_lost(reason)]


def wrong_in(surveys: Sequence[Survey], leaks: Sequence[Leak]) -> list[str]:
    """A sentence for each kind of fault."""
    found = []
    for one in surveys:
        source, repeated = one.dataset.source, sum(len(group) - 1 for group in one.exact)
        mixed, alike = len(one.two_classes()), sum(len(group) - 1 for group in one.near)
        counts = (
            (len(unreadable(one)), "unreadable file", ""),
            (repeated, "duplicate", " of another file"),
            (mixed, "group", " of equal files in more than one class"),
            (alike, "near duplicate", " of another image"),
        )
        found += [f"{counted(count, noun)}{what} in {source}" for count, noun, what in counts if count]
    if leaks:
        here, other = (one.dataset.source for one in surveys)
        found.append(f"{counted(len(leaks), 'image')} of {other} also in {here}")
    return found


def table_rows(surveys: Sequence[Survey], leaks: Sequence[Leak]) -> list[tuple[str, ...]]:
    """The head of a table, then a row for each count, with a column for each source."""
    columns = [_column(one) for one in surveys]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    if len(surveys) > 1:
        equal = sum(leak.equal for leak in leaks)
        found = f"{counted(len(leaks), 'image')}, {equal:,} equal"
        rows.append((f"also in {surveys[0].dataset.source}", "", found))
    return [("", *(one.dataset.source for one in surveys)), *rows]


def _column(one: Survey) -> dict[str, str]:
    summary = dict(line.split(": ", 1) for line in one.summary.lines()[1:])
    files, copies = sum(map(len, one.exact)), sum(map(len, one.near))
    bad = unreadable(one)
    others = len(one.unreadable) - len(bad)
    odd = ", ".join(f"{len(found):,} {what}" for what, found in one.odd.items() if found)
    return {
        "images": f"{len(one.kept):,}",
        "sizes": summary["sizes"],
        "proportions": proportions_in_words(one.summary.sizes),
        "image size for training": _size_for(one.summary),
        "modes": summary["modes"],
        "read as": one.summary.pixel_format.in_words(),
        "classes": _classes(one.summary),
        "unreadable": f"{counted(len(bad), 'file')}" + (f" (and {others:,} of other kinds)" if others else ""),
        "exact duplicates": f"{counted(files, 'file')} in {counted(len(one.exact), 'group')}" if files else "none",
        "in two classes": counted(len(one.two_classes()), "group") if one.two_classes() else "none",
        "near duplicates": (f"{counted(copies, 'image')} in {counted(len(one.near), 'group')}" if copies else "none")
        + _not_compared(one),
        "far from the others": odd or "none",
    }


def _not_compared(one: Survey) -> str:
    flat = f"; {counted(one.flat, 'flat image')} not compared" if one.flat else ""
    return flat + "; most images show one view, so only the closest count" * one.one_view


def _size_for(summary: Summary) -> str:
    """The image size that pretrain chooses, and what of the images it shows."""
    config = suggested(summary)
    size = f"{size_in_words(config.size)}, patches of {config.patch_size}"
    return f"{size}: {seen_in_words(summary.sizes, config.frame)}"


def _classes(summary: Summary) -> str:
    found = [
        f"{label}: {counted(len(counts), 'value')}, {min(counts.values()):,} to {max(counts.values()):,} images each"
        for label, counts in summary.classes.items()
    ]
    return "; ".join(found) or "none"


def show(rows: Sequence[tuple[str, ...]]) -> None:
    """Print the rows of `table_rows`."""
    show_table(rows[0], rows[1:])


def findings(surveys: Sequence[Survey], leaks: Sequence[Leak]) -> dict:
    """What was found by source, as paths; `leaks` are pairs of a path in the second source and one in the first."""
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
