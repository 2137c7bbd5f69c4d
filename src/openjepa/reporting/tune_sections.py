"""What the page of a study says in words, tables and charts, from plain values."""

from collections.abc import Mapping, Sequence

from openjepa.reporting import tune_charts
from openjepa.reporting.ablations import DIFFERENT, SAME, Ablation
from openjepa.reporting.charts import svg
from openjepa.reporting.page import Html, commands, facts, figure, folded, section, table, tag
from openjepa.reporting.sections import CURVES, SHARES

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
    chart = tune_charts.settings_chart(groups, own, noise, measure)
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


def over_time(curves: Mapping[str, tune_charts.Lines], ours: str, reference: str) -> Html:
    """Monitored quantities of the last rung's runs."""
    charted = []
    for name, lines in curves.items():
        title, caption = CURVES[name][0], CURVES[name][1].split(". ")[0].rstrip(".") + "."
        chart = tune_charts.runs_chart(lines, ours, reference, name in SHARES)
        charted.append(figure(Html(svg(chart, f"{title} over the runs")), caption, title))
    key = [tag("span", f"● {ours}", style="color: var(--run)")]
    key += [tag("span", f" ● {reference}", style="color: var(--untrained)")] if ours != reference else []
    line = tag("p", "The runs of the last rung: ", *key, ", the others in grey.")
    return section("Over time", line, tag("div", *charted, class_="columns"))


def score_section(points: Sequence[tuple[float, float, bool]], sentences: Sequence[str]) -> Html:
    """What the label-free score is worth, with a scatter where there are runs of both."""
    parts: list[object] = [tag("p", SCORE), *(tag("p", sentence) for sentence in sentences)]
    if points:
        chart = tune_charts.scatter_chart(points, "score without labels")
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
