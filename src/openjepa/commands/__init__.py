"""The commands by name. To add one, write one file in this folder and one entry here.

Nothing else is imported before a command is chosen, so that help appears at once.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import typer


class Command(NamedTuple):
    """A command: its words on the command line, where its function is, and its place and line in the help screen."""

    name: str
    module: str
    function: str
    panel: str
    help: str

    @property
    def words(self) -> list[str]:
        return self.name.split()

    def load(self) -> Callable[..., Any]:
        """The function, whose keywords are the options of the command."""
        return getattr(importlib.import_module(f"openjepa.commands.{self.module}"), self.function)

    def add_to(self, parser: typer.Typer) -> None:
        """Add the command with its options to a parser, which returns their values as the fields of an object."""
        options = importlib.import_module("openjepa.commands.arguments.fields").option_list(self.load())
        screen = importlib.import_module("openjepa.commands.arguments.help_screen").CommandWithHelp
        text = (inspect.getdoc(self.load()) or "").partition("\n\nReturns")[0]
        parser.command(self.words[-1], help=text, cls=screen)(options)


TRAIN, USE, LOOK = "Train and measure", "Use an encoder", "Look before training"
COMMANDS = (
    Command(
        "demo", "demo", "demo", TRAIN, "Train on drawn scenes and measure the encoder, in minutes and without data."
    ),
    Command("pretrain", "pretrain", "pretrain", TRAIN, "Train an encoder on unlabelled images."),
    Command("tune", "studies.tune", "tune", TRAIN, "Find settings for your images by many short runs."),
    Command("compare", "studies.compare", "compare", TRAIN, "Compare methods on your images under one budget."),
    Command("ensemble", "studies.ensemble", "ensemble", TRAIN, "Make one model of several."),
    Command("evaluate", "evaluate", "evaluate", TRAIN, "Measure encoders on labelled images, beside baselines."),
    Command("finetune", "finetune", "finetune", TRAIN, "Train an encoder and a head on labelled images."),
    Command("report", "report", "report", TRAIN, "Write the report of a run, one HTML page."),
    Command("runs", "list_runs", "list_runs", TRAIN, "List the runs below a folder, and in what they differ."),
    Command("embed", "embed", "embed", USE, "Write one vector for each image."),
    Command("index", "collection.index", "index", USE, "Make a searchable index of images, or bring one up to date."),
    Command("search", "collection.search", "search", USE, "Find the images of an index that are most similar to some."),
    Command("curate duplicates", "collection.duplicates", "curate_duplicates", USE, "Group copies, and explain them."),
    Command("curate outliers", "collection.outliers", "curate_outliers", USE, "List the oddest images."),
    Command("curate clusters", "collection.clusters", "curate_clusters", USE, "Divide images into similar groups."),
    Command("curate sample", "collection.sample", "curate_sample", USE, "Choose few images that stand for all."),
    Command("curate labels", "collection.labels", "curate_labels", USE, "Spread a few labels to all images."),
    Command("explore", "collection.explore", "explore", USE, "Look at the images of an index on a page."),
    Command(
        "serve",
        "collection.serve",
        "serve",
        USE,
        "Answer programs with the images of an index, or with a model, over HTTP.",
    ),
    Command("predict", "predict", "predict", USE, "Apply a head that finetune, or evaluate --save-head, wrote."),
    Command("import", "import_", "import_", USE, "Import weights from elsewhere."),
    Command("export", "export", "export", USE, "Export an encoder for another library."),
    Command("anomaly fit", "anomaly.fit", "anomaly_fit", USE, "Learn from normal images what is normal."),
    Command("anomaly score", "anomaly.score", "anomaly_score", USE, "Score how odd images are, and show where."),
    Command("anomaly evaluate", "anomaly.evaluate", "anomaly_evaluate", USE, "Measure a detector on labelled images."),
    Command("imagine", "anomaly.imagine", "imagine", USE, "Show what a model expects in a hidden part of an image."),
    Command("recipes", "recipes", "recipes", LOOK, "List the recipes, or the settings of one."),
    Command("masks", "masks", "masks", LOOK, "Show what a mask setting hides."),
    Command("bench", "bench", "bench", LOOK, "Measure how fast a run would be, and what limits it."),
    Command("doctor", "doctor", "doctor", LOOK, "Check the installation, and say what an issue report needs."),
    Command("data check", "data.check", "data_check", LOOK, "Find unreadable, duplicate and odd images."),
    Command("data prepare", "data.prepare", "data_prepare", LOOK, "Write a smaller copy of a set of images."),
)
# Words that several commands share: their help.
GROUPS = {
    "data": "Check a set of images, or prepare a smaller copy of it.",
    "curate": "Find copies, odd images, groups and samples in an index, and spread labels.",
    "anomaly": "Find odd images, and where they are odd, from normal ones.",
}
