"""Muon: orthogonal updates for the matrices inside of blocks, AdamW for the rest."""

import pytest
import torch
from plain import PLAIN
from torch import nn

from openjepa.config import build_config
from openjepa.models.vit import VisionTransformer
from openjepa.runs.planning.build import build_stepper
from openjepa.training.muon import COEFFICIENTS, ITERATIONS, RATIO, orthogonal
from openjepa.training.optimizer import make_optimizer, set_schedule


@pytest.mark.parametrize("shape", [(3, 16, 40), (3, 40, 16), (2, 16, 16)])
def test_directions_are_kept_and_lengths_made_alike(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    u, values, vh = torch.linalg.svd(matrices, full_matrices=False)
    through = u.mT @ orthogonal(matrices) @ vh.mT
    sizes = through.diagonal(dim1=1, dim2=2)
    assert (through - torch.diag_embed(sizes)).abs().max() < 1e-4  # the same singular vectors
    strong = values > 0.1 * values.amax(1, keepdim=True)
    assert sizes[strong].min() > 0.6 and sizes.max() < 1.3


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_steps_are_those_of_torch(precision):
    torch.manual_seed(0)
    start = torch.randn(24, 40)
    ours, theirs = (nn.Linear(40, 24, bias=False) for _ in range(2))
    with torch.no_grad():
        ours.weight.copy_(start), theirs.weight.copy_(start)
    optimizer = make_optimizer([nn.ModuleDict({"blocks": ours})], "muon", precision=precision)
    reference = torch.optim.Muon(theirs.parameters(), lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.weight.grad = torch.randn(24, 40)
        theirs.weight.grad = ours.weight.grad.clone()
        set_schedule(optimizer, 0.02 / RATIO, 0.1)
        optimizer.step(), reference.step()
    moved = (theirs.weight - start).norm()
    assert (ours.weight - theirs.weight).norm() < 0.03 * moved  # torch computes in bf16


def test_only_matrices_inside_of_blocks_are_orthogonalised():
    vit = VisionTransformer((8, 8), 4, embed_dim=16, depth=1, num_heads=2)
    optimizer = make_optimizer([vit], "muon")
    names = {id(p): name for name, p in vit.named_parameters()}
    chosen = {names[id(p)] for group in optimizer.param_groups if group["orthogonal"] for p in group["params"]}
    expected = {f"blocks.0.{part}.weight" for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert chosen == expected
    adamw = make_optimizer([vit], "adamw")
    assert not any(group["orthogonal"] for group in adamw.param_groups)


def test_adamw_is_torchs():
    torch.manual_seed(0)
    layers = [nn.Linear(5, 4) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    ours = make_optimizer([layers[0]], "adamw")
    theirs = torch.optim.AdamW(layers[1].parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(3):
        for mine, other in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        set_schedule(ours, 0.01, 0.0)
        ours.step(), theirs.step()
    for mine, other in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_matrix_without_a_gradient_stays():
    layers = nn.ModuleDict({"blocks": nn.ModuleList(nn.Linear(4, 4) for _ in range(2))})
    optimizer, frozen = make_optimizer([layers], "muon"), layers["blocks"][0].weight.detach().clone()
    set_schedule(optimizer, 0.1, 0.1)
    layers["blocks"][1].weight.grad = torch.randn(4, 4)
    optimizer.step()
    assert torch.equal(layers["blocks"][0].weight, frozen)


def test_iterating_on_the_gram_matrix_is_iterating_on_the_matrix():
    torch.manual_seed(0)
    matrices = torch.randn(2, 48, 24) @ torch.logspace(0, -5, 24).diag()  # directions of very different lengths
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True)
    for _ in range(ITERATIONS):
        gram = x.mT @ x
        x = x @ (COEFFICIENTS[0] * torch.eye(24) + COEFFICIENTS[1] * gram + COEFFICIENTS[2] * gram @ gram)
    torch.testing.assert_close(orthogonal(matrices), x, rtol=1e-3, atol=1e-4)


def test_bf16_does_not_spoil_small_directions():
    torch.manual_seed(0)
    matrices = torch.randn(2, 192, 192) @ torch.logspace(0, -5, 192).diag()
    exact, rounded = orthogonal(matrices), orthogonal(matrices, torch.bfloat16)
    assert (rounded - exact).norm() < 0.1 * exact.norm() and torch.linalg.svdvals(rounded).max() < 1.25


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("float32", torch.float32)])
def test_products_have_the_precision_of_the_run(precision, dtype):
    config = build_config(PLAIN, {"image_size": "16", "precision": precision, "device": "cpu"})
    assert build_stepper(config, 10, [0.5] * 3, [0.25] * 3).optimizer.precision == dtype
