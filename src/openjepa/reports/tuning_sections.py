"""Sections, tables and charts of the page of a study, made from plain values."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openjepa.reports.ablations import DIFFERENT, SAME, Ablation
from openjepa.reports.charts import INK, LINE, MUTED, RUN, UNTRAINED, styled, svg
from openjepa.reports.html import Html, commands, facts, figure, folded, section, table, tag
from openjepa.reports.run_sections import CURVES, FRACTIONS

Lines = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@styled
def settings_chart(groups: Mapping[str, Mapping[str, float]], own: float, noise: float, label: str) -> Figure:
    """A dot for each value of each setting, and a band of `noise` on either side of the recipe's `own` result.

    groups: results by value in words, by setting.
    """
    rows, y = [], 0.0
    for values in groups.values():
        rows += [(y + i, name, value) for i, (name, value) in enumerate(values.items())]
        y += len(values) + 0.6
    figure = Figure((7.4, 0.7 + 0.21 * y), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(own - noise, own + noise, color=LINE, alpha=0.8, linewidth=0)
    axes.axvline(own, color=INK, linewidth=1)
    for place, _, value in rows:
        beyond = abs(value - own) > noise
        axes.plot([own, value], [place, place], color=RUN if beyond else MUTED, linewidth=1.6, alpha=0.5)
        axes.plot([value], [place], "o", color=RUN if beyond else MUTED, markersize=5)
    axes.set_yticks([place for place, _, _ in rows], [name for _, name, _ in rows])
    axes.set_ylim(y - 0.2, -0.8)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    axes.annotate("recipe", (own, -0.75), (0, 2), textcoords="offset points", ha="center", color=INK, fontsize=8)
    return figure


@styled
def runs_chart(lines: Lines, ours: str, reference: str, percent: bool) -> Figure:
    """One quantity over the share of each run that is done: `ours` and the `reference` in colour, the others grey."""
    figure = Figure((4.6, 2.1), layout="constrained")
    axes = figure.add_subplot()
    colours = {reference: UNTRAINED, ours: RUN}
    for name in sorted(lines, key=lambda name: list(colours).index(name) if name in colours else -1):
        fractions, values = lines[name]
        scaled = [100 * value for value in values] if percent else values
        look = {"color": colours[name], "linewidth": 1.8} if name in colours else {"color": MUTED, "alpha": 0.5}
        axes.plot(fractions, scaled, **look)
    axes.set_xlim(0, 100)
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.yaxis.set_major_formatter("{x:g} %" if percent else "{x:g}")
    axes.locator_params(nbins=4)
    axes.set_xlabel("of the run")
    return figure


@styled
def scatter_chart(points: Sequence[tuple[float, float, bool]], label: str) -> Figure:
    """(score, accuracy as a fraction, whether it stands out) of runs."""
    figure = Figure((7.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for chosen, colour in ((False, RUN), (True, UNTRAINED)):
        some = [(x, 100 * y) for x, y, stands_out in points if stands_out == chosen]
        _dots(axes, some, colour)
    axes.set_xlabel(label)
    axes.set_ylabel("linear probe in %")
    axes.locator_params(nbins=5)
    return figure


def _dots(axes: Axes, points: Sequence[tuple[float, float]], colour: str) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], "o", color=colour, markersize=5.5, alpha=0.75)


TRENDS = {SAME: "good", DIFFERENT: "warn"}
SCORE = (
    "The score without labels is the effective rank, as a multiple of the untrained encoder's, times the energy gap, "
    "times one minus the positional share."
)


def heading(source: str, title: str, good: bool, badge: str, sentence: str) -> Html:
    """The title, and what came of the study in a badge and a sentence."""
    mark = tag("span", badge, class_=f"badge {'good' if good else 'calm'}")
    verdict = tag("div", mark, tag("p", sentence), class_="verdict")
    return tag("header", tag("p", f"openjepa tune · {source}", class_="over"), tag("h1", title), verdict)


def winner(changes: Sequence[tuple[str, str, str]], command: str, about: Sequence[tuple[str, str]]) -> Html:
    """The changed settings (option, of the recipe, of the winner) and the command that trains with them."""
    rows = [tag("p", "The recipe as it is, without a change.")]
    if changes:
        rows = [table(("setting", "recipe", "winner"), [(a, b, tag("span", c, class_="ours")) for a, b, c in changes])]
    left = tag("div", tag("h3", "Settings"), *rows)
    right = tag("div", tag("h3", "Study"), facts(about))
    launch = [tag("p", "To train with them for as long as the whole study was given:"), tag("pre", commands(command))]
    return section("The winner", tag("div", left, right, class_="columns"), *launch)


def settings(groups: Mapping[str, Mapping[str, float]], own: float, noise: float, measure: str) -> Html:
    """The first rung: every changed setting beside the recipe."""
    chart = settings_chart(groups, own, noise, measure)
    caption = (
        "The first rung: one setting changed at a time, all runs seeing as many images. The line is the recipe, the "
        "band what chance makes (one standard deviation to either side: of the recipe's own seeds, or of an accuracy "
        "on so many images, if that is larger). Dots in the band are in grey: nothing can be said of them."
    )
    return section("One setting at a time", figure(Html(svg(chart, "results by setting")), caption, class_="wide"))


def rungs(tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]]) -> Html:
    """A table a rung (title, head, rows with the best first), the last rung first and open."""
    (title, head, rows), *earlier = tables
    parts = [tag("h3", title), table(head, rows)]
    return section("Rung by rung", *parts, *(folded(title, table(head, rows)) for title, head, rows in earlier))


def over_time(curves: Mapping[str, Lines], ours: str, reference: str) -> Html:
    """Monitored quantities of the last rung's runs."""
    charted = []
    for name, lines in curves.items():
        title, caption = CURVES[name][0], CURVES[name][1].split(". ")[0].rstrip(".") + "."
        chart = runs_chart(lines, ours, reference, name in FRACTIONS)
        charted.append(figure(Html(svg(chart, f"{title} over the runs")), caption, title))
    key = [tag("span", f"● {ours}", style="color: var(--run)")]
    key += [tag("span", f" ● {reference}", style="color: var(--untrained)")] if ours != reference else []
    line = tag("p", "The runs of the last rung: ", *key, ", the others in grey.")
    return section("Over time", line, tag("div", *charted, class_="columns"))


def score_section(points: Sequence[tuple[float, float, bool]], sentences: Sequence[str]) -> Html:
    """What the label-free score is worth, with a scatter where there are runs of both."""
    parts: list[object] = [tag("p", SCORE), *(tag("p", sentence) for sentence in sentences)]
    if points:
        chart = scatter_chart(points, "score without labels")
        caption = (
            "Every dot is a run of the first rung. A score that could replace labels would rise from left to right."
        )
        parts.append(figure(Html(svg(chart, "score and accuracy")), caption, class_="wide"))
    return section("What the score without labels is worth", *parts)


def beside_the_paper(found: Sequence[tuple[Ablation, Mapping[str, str], str]], measure: str, noise: str) -> Html:
    """For each ablation: the paper's accuracies, our results by value in words, and the trend."""
    cards = []
    for ablation, rows, trend in found:
        badge = tag("span", trend, class_=f"badge {TRENDS.get(trend, 'calm')}")
        source = tag("p", ablation.source, class_="over")
        head = tag("h3", ablation.title, " ", badge)
        cards.append(tag("div", head, source, table(("value", "paper", "here"), [(k, *v) for k, v in rows.items()])))
    intro = (
        f"The paper’s ablations (Assran et al. 2023), accuracies in %, beside the first rung of this study "
        f"({measure}). Networks, images and lengths differ, so levels cannot be compared, only whether results rise "
        "and fall together (the sign of the rank correlation). Results that differ by no more than three times the "
        f"noise ({noise}) say nothing. Blocks are tried with multiblock masks. Tables 7 (targets: representations or "
        "pixels) and 11 (masks on the input or the output of the target encoder) are not here: they compare methods, "
        "and no trial changes the method."
    )
    return section("Beside the paper", tag("p", intro), tag("div", *cards, class_="columns"))
