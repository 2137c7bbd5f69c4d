"""What every method promises to the training loop, checkpoints and exports."""

import dataclasses
from pathlib import Path

import pytest
import torch
from plain import PLAIN
from support.two_views import TwoViews

from openjepa.config import build_config, help_of
from openjepa.data.open import open_dataset
from openjepa.methods.base import Inputs
from openjepa.methods.registry import METHODS, Entry
from openjepa.recipe_settings import RECIPES, recipe
from openjepa.runs.planning.build import build_batches, build_stepper
from openjepa.runs.planning.build_model import build_model
from openjepa.runs.planning.unused_settings import without_effect
from openjepa.training.graphs import Loss
from openjepa.training.monitoring.monitors import Monitor

SMALL = {"image_size": "16", "batch_size": 4, "predictor_depth": 1, "steps": 10, "precision": "float32"}
TOY = Entry(TwoViews.__module__, TwoViews.__name__, "tells crops of an image from those of others")


@pytest.fixture(params=[*METHODS, "two_views"])
def config(request, monkeypatch):
    monkeypatch.setitem(METHODS, "two_views", TOY)
    return build_config(PLAIN, SMALL | {"method": request.param})


@pytest.fixture
def stepper(config):
    return build_stepper(config, 10, [0.5] * 3, [0.25] * 3)


@pytest.fixture(scope="module")
def batches():
    """The first batch of each method, as drawing the views takes long."""
    return {}


@pytest.fixture
def batch(config, batches):
    if config.method not in batches:
        batches[config.method] = build_batches(open_dataset("scenes:8"), config)[0]
    return batches[config.method]


def test_a_batch_has_what_the_method_asks_for(stepper, batch):
    inputs = stepper.prepare(batch)
    assert inputs.views.shape == (stepper.model.views, 4, 3, 16, 16) and inputs.views.dtype == torch.float32
    assert (inputs.context_ids is not None) == stepper.model.needs_masks


def test_the_loss_is_finite_and_every_learning_parameter_has_a_gradient(stepper, batch):
    model = stepper.model
    loss = model(stepper.prepare(batch))
    loss.backward()
    assert loss.ndim == 0 and loss.isfinite()
    learning = {p for module in model.learning_modules() for p in module.parameters()}
    assert learning == {p for p in model.parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)
    assert learning == {p for group in stepper.optimizer.param_groups for p in group["params"]}


def test_a_step_changes_every_module_that_learns(stepper, batch):
    before = {name: p.detach().clone() for name, p in stepper.model.named_parameters()}
    stepper(5, batch)
    for name, child in stepper.model.named_children():
        assert any(not torch.equal(p, before[f"{name}.{n}"]) for n, p in child.named_parameters()), name


def test_the_loss_depends_on_what_it_is_given_only(stepper, batch):
    inputs = stepper.prepare(batch)
    with torch.no_grad():
        assert torch.equal(stepper.model(inputs), stepper.model(inputs))
        assert torch.equal(stepper.model(inputs), Loss(stepper.model)(*inputs.tensors))


def test_the_encoder_that_people_use_is_one_of_the_networks(stepper, batch):
    model = stepper.model
    assert model.encoder in model.networks() and model.context_encoder in model.networks()
    assert model.encoder(batch.images.float()).shape == (4, 16, model.encoder.embed_dim)
    parts = model.parts()
    assert parts.encoder is model.encoder and (parts.context_encoder is None) != model.has_target_encoder


def test_the_state_makes_the_same_method_again(config, stepper, batch):
    stepper(5, batch)
    state = {name: value.clone() for name, value in stepper.model.state_dict().items()}
    again = build_model(dataclasses.replace(config, seed=1))
    again.load_state_dict(state)
    inputs = stepper.prepare(batch)
    assert torch.equal(again(inputs), stepper.model(inputs))
    assert any(name.startswith("context_encoder.blocks.0.") for name in state)


def test_monitors_are_those_that_the_method_can_have(config, stepper, batch):
    monitor = Monitor(stepper.prepare(batch).images, build_batches(open_dataset("scenes:8"), config).masks, 0)
    expected = {"rank", "std"}
    expected |= {"positional_fraction", "energy_gap"} if stepper.model.needs_masks else set()
    expected |= {"ema_distance"} if stepper.model.has_target_encoder else set()
    assert monitor(stepper.model).keys() == expected


def test_settings_and_recipes_that_it_names_exist(config):
    names = {field.name for field in dataclasses.fields(config)}
    method = METHODS[config.method].load()
    assert set(method.unused_settings) <= names and without_effect(config).keys() <= names
    for name, changes in method.recipe_overrides.items():
        assert name in RECIPES and recipe(name, {"method": config.method}).items() >= changes.items()


def test_the_entry_is_its_line_of_the_help(config):
    entry = METHODS[config.method]
    assert entry.help and "\n" not in entry.help and not entry.help.endswith(".")
    assert f"{config.method}, {entry.help}" in help_of("method")


def test_every_method_has_a_section_of_the_page_with_its_help_and_what_keeps_it_from_collapse():
    page = (Path(__file__).parents[2] / "docs/methods.md").read_text()
    for name in METHODS:
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert "**Against collapse:**" in section and f"`{name}`" in page, name


def test_a_method_that_needs_masks_refuses_a_batch_without():
    model = build_model(build_config(PLAIN, SMALL))
    with pytest.raises(ValueError, match="needs masks"):
        model(Inputs(torch.zeros(1, 2, 3, 16, 16)))
