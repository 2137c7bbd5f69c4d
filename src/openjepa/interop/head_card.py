"""The model card of a fine-tuned head: what it tells, from which images it learnt, and how good it was."""

from collections.abc import Sequence
from dataclasses import dataclass

from openjepa.escaping import markdown
from openjepa.interop.head_tests import HeadTest, result_lines
from openjepa.interop.model_card import Rows, header, section, table

USAGE = {
    "transformers": """from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained("FOLDER")
model = AutoModelForImageClassification.from_pretrained("FOLDER")
outputs = model(**processor(images, return_tensors="pt")).logits""",
    "timm": """import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
preprocess = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
outputs = model(preprocess(image).unsqueeze(0))""",
    None: """import openjepa

openjepa.predict("FOLDER", "IMAGES", out="answers.csv")""",
}
MEANING = {
    "single_label_classification": "The outputs are logits of classes that exclude each other.",
    "multi_label_classification": "The outputs are logits of tags, any number of which an image can have.",
    "regression": "The outputs are numbers, in the units of the training images.",
}
SHOWN = 50


@dataclass(frozen=True)
class HeadCard:
    """The content of a card: `problem` as transformers calls it, names of the outputs, tables of settings and data.

    `pooled` is what the head reads.
    """

    name: str
    licence: str | None
    problem: str
    outputs: Sequence[str]
    model: Rows
    data: Rows
    settings: Rows
    tests: Sequence[HeadTest]
    pooled: str = "the mean of its patch tokens"


def write_head_card(card: HeadCard, library: str | None) -> str:
    """The card in Markdown, with the header that the Hub reads, for the library that opens the folder."""
    more = f" and {len(card.outputs) - SHOWN:,} more" if len(card.outputs) > SHOWN else ""
    names = ", ".join(markdown(name) for name in card.outputs[:SHOWN]) + more
    parts = [
        header(card.licence, "image-classification", library or ""),
        f"# {markdown(card.name)}",
        f"An image encoder and a linear head on {card.pooled}, fine-tuned on labels by openjepa. "
        + MEANING[card.problem],
        f"```python\n{USAGE[library]}\n```",
        section("Outputs", names),
        section("Model", table(card.model)),
        section("Data", table(card.data)),
        section("Settings", table(card.settings)),
        section("Evaluation", "\n".join(f"- {markdown(line)}" for line in result_lines(card.tests))),
        section(
            "Licence", markdown(card.licence or "") or "None was stated by whoever made the first weights: ask them."
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
