"""Which parameters decay."""

import torch
from torch import nn

from openjepa.training.optimizer import make_optimizer, set_schedule


def test_biases_and_norms_do_not_decay():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    optimizer = make_optimizer([module])
    set_schedule(optimizer, lr=0.1, weight_decay=0.5)
    before = {name: value.detach().clone() + 0 for name, value in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = dict(module.named_parameters())
    torch.testing.assert_close(after["0.weight"], before["0.weight"] * (1 - 0.1 * 0.5))
    for name in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(after[name], before[name])
