"""float16: the loss is scaled, a step whose gradients overflow is skipped, and checkpoints hold the scale."""

import pytest
import torch
from support.processes import small_model

from openjepa.data.batches import Batch
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.training.optimizer import GROWTH, SCALE, load_scale, loss_scaler, make_optimizer, scale_tensors
from openjepa.training.state import load_tensors, run_tensors
from openjepa.training.step import Schedule, Stepper

CPU = torch.device("cpu")


def stepper(precision: torch.dtype, optimizer: str = "muon") -> Stepper:
    torch.manual_seed(0)
    model = small_model()
    made = make_optimizer(model.learning_modules(), optimizer, precision=precision)
    schedule = Schedule(20, 1e-3, warmup=0.0)
    scaler = loss_scaler(precision, CPU)
    return Stepper(model, made, schedule, [0.5] * 3, [0.25] * 3, CPU, precision, 3.0, scaler=scaler)


def batch() -> Batch:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Batch(images[None], sample_masks(MaskSettings((4, 4)), 4, 0, 0), torch.arange(4), total=4)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_losses_are_those_of_float32(optimizer):
    plain, scaled = (
        [float(each(step, batch())[0]) for step in range(8)]
        for each in (stepper(torch.float32, optimizer), stepper(torch.float16, optimizer))
    )
    assert plain[-1] < plain[0] - 0.01
    assert scaled == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_step_that_overflows_changes_no_weight_and_halves_the_scale(optimizer):
    each = stepper(torch.float16, optimizer)
    each(0, batch())
    load_scale(each.scaler, {SCALE: torch.tensor(2.0**40), GROWTH: torch.tensor(3)})
    before = {name: t.clone() for name, t in each.model.context_encoder.state_dict().items()}
    _, norm = each(1, batch())
    assert not norm.isfinite()
    assert all(torch.equal(before[name], t) for name, t in each.model.context_encoder.state_dict().items())
    assert float(scale_tensors(each.scaler)[SCALE]) == 2.0**39 and int(scale_tensors(each.scaler)[GROWTH]) == 0


def test_other_precisions_have_no_scale():
    assert scale_tensors(loss_scaler(torch.bfloat16, CPU)) == {}
    assert not loss_scaler(torch.float32, CPU).is_enabled()


def test_six_steps_are_three_and_after_a_checkpoint_three_more():
    whole, first, second = (stepper(torch.float16) for _ in range(3))
    for step in range(6):
        whole(step, batch())
    for step in range(3):
        first(step, batch())
    tensors = run_tensors(first)
    load_tensors(second, tensors)
    for step in range(3, 6):
        second(step, batch())
    a, b = run_tensors(whole), run_tensors(second)
    assert a.keys() == b.keys() and SCALE in a and GROWTH in a
    assert all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(ValueError, match="scaler"):
        load_tensors(stepper(torch.float32), tensors)
