"""Make the picture of the lab log's learning studies from its own tables.

python docs/images/study.py      reads docs/development/lab-log.md, writes docs/images/study.png
"""

import re
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openjepa.reports.chart_style import STYLE

HERE = Path(__file__).parent
COLOURS = {"I-JEPA": "#1f66b3", "MAE": "#c27c1e"}


def table(section: int) -> list[dict[str, str]]:
    """The rows of the first table of a section of the lab log, by the names of its columns."""
    log = (HERE / "../development/lab-log.md").read_text()
    text = re.split(rf"^## {section}\. ", log, flags=re.M)[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def settings(axes: Axes) -> None:
    """Section 6: k-NN over linear accuracy, a point for each run."""
    for row in table(6):
        muon = row["optimizer, lr"].startswith("Muon")
        colour = COLOURS[row["method"]]
        axes.plot(float(row["linear"]), float(row["k-NN"]), "o", ms=6, mec=colour, mfc=colour if muon else "none")
    for method, colour in COLOURS.items():
        axes.plot([], [], "o", color=colour, label=f"{method}, Muon")
        axes.plot([], [], "o", mec=colour, mfc="none", label=f"{method}, AdamW")
    axes.set(xlabel="linear probe, %", ylabel="k-NN, %", title="a point for each run (lab log, 6)")
    axes.legend(fontsize=7)


def masks_per_step(axes: Axes) -> None:
    """Section 8: linear accuracy after about 200 seconds, by images, masks and targets per step."""
    rows = sorted(table(8), key=lambda row: float(row["linear"]))
    names = [f"{row['images x draws a step']}, {row['asked of 48 hidden']} targets" for row in rows]
    places = range(len(rows))
    axes.barh(
        places, [float(row["linear"]) for row in rows], color=[COLOURS[row["method"]] for row in rows], height=0.7
    )
    axes.set_yticks(places, names, fontsize=7)
    axes.set(
        xlabel="linear probe, %",
        xlim=(37.9, None),
        title="images x masks per step (lab log, 8); untrained: 37.9",
    )


def main() -> None:
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "#fdfdfd"}):
        figure = Figure(figsize=(9.6, 3.4), layout="constrained", dpi=200)
        left, right = figure.subplots(1, 2)
        settings(left)
        masks_per_step(right)
        for axes in (left, right):
            axes.set_title(axes.get_title(), loc="center", fontsize=9)
        figure.savefig(HERE / "study.png")


if __name__ == "__main__":
    main()
