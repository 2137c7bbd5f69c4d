"""Make the picture of docs/troubleshooting.md: monitors of healthy runs and of runs that fail on purpose.

python docs/images/alarms.py      reads benchmarks/results/alarms-*.json, writes docs/images/alarms.png
"""

import json
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from openjepa.reports.chart_style import STYLE

HERE = Path(__file__).parent
CASES = {  # file, left out if missing: name, colour
    "healthy": ("healthy", "#1d7a46"),
    "published-adamw": ("published first weights, AdamW", "#c27c1e"),
    "no-stop-gradient": ("no stop-gradient, EMA 0", "#b3261e"),
    "lr-x30": ("learning rate x30", "#6a4fb3"),
    "positional-slow": ("published first weights, learning rate /50", "#2a7f9e"),
    "late-stop-gradient": ("stop-gradient lost at half-time", "#4d4d4d"),
}
PANELS = {
    "loss": "loss",
    "rank": "effective rank",
    "positional_fraction": "positional fraction",
    "energy_gap": "energy gap",
}


def main() -> None:
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "#fdfdfd", "text.parse_math": True}):
        figure = Figure(figsize=(9.6, 2.6), layout="constrained", dpi=200)
        for axes, (key, title) in zip(figure.subplots(1, len(PANELS), sharex=True), PANELS.items(), strict=True):
            axes.set_title(title, loc="left", fontsize=9)
            axes.set_xlabel("fraction of the run")
            for case, (name, colour) in CASES.items():
                path = HERE / f"../../benchmarks/results/alarms-{case}.json"
                if not path.exists():
                    continue
                stored = json.loads(path.read_text())
                records = [record for record in stored["records"] if record.get(key) is not None]
                done = [record["step"] / stored["steps"] for record in records]
                axes.plot(done, [record[key] for record in records], "o-", ms=3, lw=1.4, color=colour, label=name)
            if key == "loss":
                axes.set_yscale("log")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.savefig(HERE / "alarms.png")


if __name__ == "__main__":
    main()
