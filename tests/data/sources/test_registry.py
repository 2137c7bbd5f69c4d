"""Every kind of source is found by its name, and help, messages and the page speak of all of them."""

import re
from pathlib import Path

import numpy as np
import pytest

from openjepa.data.sources.registry import SOURCES, known

PAGE = Path(__file__).parents[3] / "docs/data.md"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.names)
def test_a_source_is_the_first_to_take_its_example(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = source.example.strip("'")
    place = Path(re.sub(r"(\.\w+)/\w+$", r"\1", example))
    if source.names == "folder":
        place.mkdir()
    elif ":" not in example and "{" not in example:
        np.savez(place.open("wb"), images=np.zeros((2, 4, 4), np.uint8))  # a zip, whatever its suffix
    assert next(other.names for other in SOURCES if other.opener().takes(example)) == source.names


def test_the_page_lists_every_kind():
    rows = " ".join(line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("|"))
    missing = [source.names for source in SOURCES if not re.search(WORDS.get(source.names, source.names), rows)]
    assert not missing


WORDS = {
    "hf:NAME": "Hugging Face Hub",
    "torchvision:NAME": "torchvision",
    "arrays (.npy, .npz, .h5)": r"\.npz",
    "list (.txt, .csv, .tsv)": "CSV or TSV list",
    "table (.parquet, .arrow)": "Parquet",
}


def test_what_can_be_given_names_the_most_general_kind_first():
    assert known().startswith("folder, ") and known().endswith("scenes")
