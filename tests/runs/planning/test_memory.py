"""The estimate of the memory of a step, beside what autograd keeps in one."""

import dataclasses

import pytest
import torch

from openjepa.config import Config
from openjepa.errors import UsageError
from openjepa.models.vit import SIZES, Block
from openjepa.runs.planning import memory
from openjepa.runs.planning.memory import KEPT, check_memory, network_bytes

CONFIG = Config(device="cpu", precision="float32", model="vit_tiny", image_size="64", patch_size=8, workers=0)


def test_the_numbers_that_a_block_keeps_are_those_that_autograd_saves():
    width, _, heads, ratio = SIZES[CONFIG.model]
    block, tokens, saved = Block(width, heads, ratio), torch.randn(4, 64, width, requires_grad=True), {}
    own = {each.data_ptr() for each in block.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(tokens).sum()
    kept = sum(saved.values()) / 4 / tokens.numel()
    assert 0.75 * kept <= KEPT <= kept


def test_seven_tenths_of_the_memory_by_the_estimate_pass_and_what_cannot_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 24 * 2**30)
    each = network_bytes(CONFIG, 3)
    check_memory(dataclasses.replace(CONFIG, batch_size=int(0.7 * 24 * 2**30 / each)), 3)
    with pytest.raises(UsageError, match=r"--batch-size 100000 takes .* GiB of memory or more"):
        check_memory(dataclasses.replace(CONFIG, model="vit_nano", batch_size=100_000), 3)


def test_a_predictor_sequence_for_each_target_takes_more_than_one_for_all():
    blocks = dataclasses.replace(CONFIG, masks="multiblock", context_ratio=0.25, masks_per_image=1)
    joint, separate = (dataclasses.replace(blocks, target_sequences=kind) for kind in ("joint", "separate"))
    assert network_bytes(joint, 3) < network_bytes(separate, 3)
