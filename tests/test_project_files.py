"""The files beside the code that name versions name those of the code, and can be read by what reads them."""

from pathlib import Path

import pytest
import yaml

import openjepa

ROOT = Path(__file__).parents[1]


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["version"] == openjepa.__version__
    assert citation["license"] in (ROOT / "pyproject.toml").read_text()
    assert {"message", "title", "authors"} <= citation.keys()


def test_pre_commit_runs_the_ruff_of_the_constraints():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    pins = {pin for hook in hooks for pin in hook["additional_dependencies"]}
    assert pins == {line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ruff==")}


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_forms_of_issues_have_what_github_needs(form):
    found = yaml.safe_load(form.read_text())
    assert found["name"] and found["description"]
    fields = [field for field in found["body"] if field["type"] != "markdown"]
    assert fields and all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_the_changelog_begins_with_what_is_not_released():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = [line for line in text.splitlines() if line.startswith("## ")]
    assert versions[0] == "## Unreleased"
    assert {line[4:] for line in text.splitlines() if line.startswith("### ")} <= {
        *("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    }
