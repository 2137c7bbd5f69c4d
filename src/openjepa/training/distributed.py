"""Several processes as one run: torchrun's processes form a group, agree, and average or shard.

Without torchrun there is one process, and everything here returns at once.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from openjepa.errors import UsageError, shown
from openjepa.methods.base import Inputs, Method
from openjepa.ranks import on_rank_zero, rank, world_size

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

T = TypeVar("T")
PARALLEL = ("auto", "ddp", "fsdp")
STATE_BYTES = 20  # for each parameter of an encoder under AdamW: weight, gradient, two moments, target weight


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Within this context the processes that torchrun started are one group: NCCL on CUDA, gloo on the CPU.

    Raises UsageError on any other kind of device, and where another process has died.
    """
    if not several_started():
        yield
        return
    backends = {"cuda": "cpu:gloo,cuda:nccl", "cpu": "gloo"}
    if device.type not in backends or device.index is not None:
        raise UsageError(f"several processes cannot run on --device {device}: give cuda or cpu")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        _meet(backends[device.type])
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise UsageError("lost the connection to the other processes: continue the run with --resume") from error
        raise
    dist.destroy_process_group()  # not after an error: the others might never answer


def _meet(backend: str) -> None:
    """Initialise the process group, under a name that differs between restarts.

    torchrun's store outlives the processes and keeps the addresses of those that died (pytorch/pytorch#135712), unless
    it opens a new store for every start, which nodes need that do not count restarts alike.
    """
    store, number, count = next(rendezvous("env://"))
    if os.environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE") != "1":
        store = dist.PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=count)


def several_started() -> bool:
    """Whether torchrun started this process, alone or beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("WORLD_SIZE", 1)) > 1


def use_own_gpu() -> None:
    """Of several processes on this machine that work each for itself, let each compute on another GPU."""
    if several_started() and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def is_restart() -> bool:
    """Whether torchrun restarted these processes because one had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def anyone(*flags: bool) -> list[bool]:
    """For each flag whether any rank has it set. On the CPU, so that no device is waited for."""
    if world_size() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return [bool(vote) for vote in votes]


def everyones(value: T) -> list[T]:
    """The value of every rank, by rank."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def check_alike(what: str, value: T, what_to_do: str) -> None:
    """Raise UsageError on all ranks, naming the first that differs, unless `value` is the same on every rank."""
    first, *others = everyones(value)
    for number, theirs in enumerate(others, 1):
        if theirs != first:
            raise UsageError(
                f"process {number} has other {what} than process 0 ({shown(theirs)}, not {shown(first)}): {what_to_do}"
            )


def mean_over_ranks(value: Tensor) -> float:
    total = value.detach().cpu().double()  # MPS has no float64
    if world_size() > 1:
        dist.all_reduce(total)
    return float(total) / world_size()


def from_first(tensors: dict[str, Tensor], use: Callable[[str, Tensor], T]) -> dict[str, T]:
    """`use(name, tensor)` of every tensor of rank 0, one at a time, so that the others never hold them all."""
    shapes = on_rank_zero(lambda: {name: (t.shape, t.dtype) for name, t in tensors.items()})
    found = {}
    for name, (shape, dtype) in shapes.items():
        tensor = tensors[name] if rank() == 0 else torch.empty(shape, dtype=dtype)
        if world_size() > 1:
            dist.broadcast(tensor, 0)
        found[name] = use(name, tensor)
    return found


def parallelize(model: Method, parallel: str = "auto") -> Callable[[Inputs], Tensor]:
    """What to call for the loss so that gradients are averaged over ranks. "fsdp" shards the model in place.

    "auto" is "ddp" where weights and optimizer state take less than half of the device's memory.
    """
    if world_size() == 1:
        return model
    device = next(model.parameters()).device
    if parallel == "fsdp" or (parallel == "auto" and not fits(model, device)):
        shard(model)
        return model
    devices = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():
        # The buffers are the same on every rank. Not every version of PyTorch has the new name of this argument.
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def fits(model: Method, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    needed = STATE_BYTES * sum(p.numel() for p in model.parameters() if p.requires_grad)
    return needed < torch.cuda.get_device_properties(device).total_memory / 2


def shard(model: Method) -> None:
    """Split every block of every network over the ranks (FSDP2), then what remains of every module of the method.

    Each module is a root of its own, since encoders are also called by themselves; and each is resharded at once,
    since no backward pass follows that of a target encoder.
    """
    from torch.distributed.fsdp import fully_shard  # which takes as long to import as half of torch

    # What a predictor returns is a view; FSDP warns about changing it in place, which nothing does.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)
    for network in model.networks():
        for block in network.blocks:
            fully_shard(block)
    for module in model.children():
        if any(True for _ in module.parameters()):
            fully_shard(module, reshard_after_forward=True)


def is_sharded(model: nn.Module) -> bool:
    return any(_is_part(p) for p in model.parameters())


def whole(tensor: Tensor) -> Tensor:
    """A tensor in full of which each rank may hold a part. A collective: all ranks must call it."""
    return tensor.full_tensor() if _is_part(tensor) else tensor


def _is_part(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether a tensor is sharded. By its method, since importing DTensor takes as long as half of torch."""
    return hasattr(tensor, "full_tensor")


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a full tensor that all ranks hold, sharded as `like` is."""
    if not _is_part(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


@contextlib.contextmanager
def last_only(forward: Callable[[Inputs], Tensor], last: bool) -> Iterator[None]:
    """Within this context gradients stay on their rank, unless it is the `last` part of a batch."""
    if isinstance(forward, DistributedDataParallel) and not last:
        with forward.no_sync():
            yield
    else:
        yield
