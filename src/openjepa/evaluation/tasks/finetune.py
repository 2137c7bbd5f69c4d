"""finetune, fewshot-finetune: the whole network is trained on labels, deeper layers faster than early ones."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from openjepa.data.batches import epoch_order, in_order
from openjepa.data.crops import random_resized_crop
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import frame_of, read_by, stream_features
from openjepa.evaluation.results import Result, named
from openjepa.evaluation.session import Session
from openjepa.evaluation.task import Task
from openjepa.evaluation.tasks.fewshot import check, draw_shots
from openjepa.models.vit import VisionTransformer
from openjepa.rng import CROPS, generator

RATE, DECAY, LAYER_DECAY, WARMUP = 1e-3, 0.05, 0.75, 0.1
CROP = 0.35, 1.0
BATCH, LEAST_STEPS = 64, 60
HELD = 6 * 2**30  # bytes of activations at a time; larger batches are split, with the same update
KEPT = 17  # numbers for each token and unit of width that a block keeps for its gradient: 9 in the MLP, 8 before it


def run(session: Session) -> Iterator[Result]:
    """On all training images. Raw pixels have no network to train, and no result."""
    yield from _results(session, "finetune", None)


def run_few(session: Session) -> Iterator[Result]:
    """On one draw of the few images."""
    for shot in session.shots:
        yield from _results(session, f"finetune-{shot}", shot)


def _results(session: Session, task: str, shot: str | None) -> Iterator[Result]:
    if not isinstance(session.model, Encoder):
        return
    workers = session.store.workers
    for answers in session.labels():
        names, y = answers.names, answers.labels.numpy()
        test = session.test.dataset.subset(answers.test_rows)
        rows = draw_shots(y, shot, session.seed, 0, names) if shot else np.arange(len(y))
        images = session.train.dataset.subset(answers.train_rows[rows])
        tuned = finetune(session.model, images, y[rows], len(names), session.epochs, session.seed, workers)
        protocol = {**tuned.setting, "draws": 1, "seed": session.seed, "train_images": len(rows)}
        correct = tuned.logits(test, workers).argmax(1) == answers.truth
        yield answers.result(named(task, answers.name), correct, protocol)


@dataclass(frozen=True)
class EncoderWithHead:
    """A network with a linear head on the mean of its patch tokens, fine-tuned with `setting`."""

    encoder: Encoder
    head: nn.Linear
    setting: dict[str, float]

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Preprocessed images to logits [B, C], float32 on the CPU."""
        with self.encoder.arithmetic():
            tokens = self.encoder.network(self.encoder.standardised(images))
            return self.head(tokens.mean(1)).float().cpu()

    def logits(self, dataset: ImageDataset, workers: int) -> Tensor:
        """Logits [n, C] of all images, every one of which must be readable."""
        chunks = stream_features(self.features, frame_of(self.encoder), read_by(self.encoder, dataset), workers)
        return torch.cat([logits for logits, *_ in chunks])


class TrainingCrops(Dataset):
    """Batch `step` of random crops, half of them mirrored: (uint8 or float32 [b, C, H, W], labels [b])."""

    def __init__(self, dataset: ImageDataset, labels: np.ndarray, image_size: tuple[int, int], seed: int) -> None:
        self.dataset, self.labels, self.image_size, self.seed = dataset, labels, image_size, seed
        self.batch_size = min(BATCH, len(labels))

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        images, rows = [], []
        for position in range(step * self.batch_size, (step + 1) * self.batch_size):
            epoch, place = divmod(position, len(self.labels))
            row = int(epoch_order(self.seed, len(self.labels), epoch)[place])
            rng = generator(self.seed, CROPS, epoch, row)
            crop = random_resized_crop(self.dataset.load(row), self.image_size, CROP, rng)
            images.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
            rows.append(row)
        pixels = torch.from_numpy(np.ascontiguousarray(np.stack(images))).permute(0, 3, 1, 2)
        return pixels, torch.from_numpy(self.labels[rows])


def finetune(
    encoder: Encoder, dataset: ImageDataset, labels: np.ndarray, classes: int, epochs: float, seed: int, workers: int
) -> EncoderWithHead:
    """A copy of the encoder, trained to classify; the encoder itself does not change.

    AdamW, peak rate 1e-3 for the head and 0.75 times that for each block further down (Clark et al. 2020, arXiv
    2003.10555; He et al. 2022, arXiv 2111.06377, appendix A.1), a tenth of warm-up, then a cosine; random crops and
    mirroring. At least 60 steps, because the head starts at zero. Every image of `dataset`
    must be readable; labels [n] int64 from 0 to classes - 1.
    """
    crops = TrainingCrops(read_by(encoder, dataset), labels, encoder.image_size, seed)
    steps = max(LEAST_STEPS, round(epochs * len(labels) / crops.batch_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = copy.deepcopy(encoder.network)
        head = nn.Linear(network.embed_dim, classes).to(encoder.device)
    nn.init.zeros_(head.weight)
    how = encoder.device, encoder.precision, encoder.pixel_format, encoder.max_stretch, encoder.licence
    tuned = Encoder(network, encoder.mean, encoder.std, encoder.name, *how)
    optimizer = torch.optim.AdamW(_groups(network, head), lr=RATE, weight_decay=DECAY)
    schedule, fits = warm_up_then_cosine(optimizer, steps), images_that_fit(encoder)
    for images, targets in in_order(crops, range(steps), workers):
        optimizer.zero_grad()
        for part, answers in zip(images.split(fits), targets.to(encoder.device).split(fits), strict=True):
            with tuned.arithmetic():
                logits = head(network(tuned.standardised(part)).mean(1))
            loss = nn.functional.cross_entropy(logits.float(), answers, label_smoothing=0.1, reduction="sum")
            (loss / len(images)).backward()
        nn.utils.clip_grad_norm_([*network.parameters(), *head.parameters()], 3.0)
        optimizer.step()
        schedule.step()
    setting = {"steps": steps, "batch_size": crops.batch_size, "epochs": steps * crops.batch_size / len(labels)}
    setting |= {"learning_rate": RATE, "weight_decay": DECAY, "layer_decay": LAYER_DECAY}
    return EncoderWithHead(tuned, head.requires_grad_(False), setting)


def warm_up_then_cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """A tenth of the steps of linear warm-up, then a cosine to 0."""
    rise = max(1, round(WARMUP * steps))
    return torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1 / rise, total_iters=rise),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - rise)),
        ],
        [rise],
    )


def images_that_fit(encoder: Encoder) -> int:
    """The number of images whose activations fit `HELD` bytes, at least one."""
    network = encoder.network
    tokens = network.grid_size[0] * network.grid_size[1]
    return max(1, HELD // (4 * KEPT * len(network.blocks) * tokens * network.embed_dim))


def _groups(network: VisionTransformer, head: nn.Linear) -> list[dict]:
    """Parameters by layer with their learning rates."""
    layers = [network.patch_embed, *network.blocks, network.norm]
    groups = []
    for depth, layer in enumerate(layers[:-1]):
        rate = RATE * LAYER_DECAY ** (len(network.blocks) + 1 - depth)
        groups.append({"params": list(layer.requires_grad_(True).parameters()), "lr": rate})
    return [*groups, {"params": [*layers[-1].requires_grad_(True).parameters(), *head.parameters()], "lr": RATE}]


TASK = Task("finetune", "The whole network trained on the labels", run)
FEWSHOT_TASK = Task("fewshot-finetune", "The whole network trained on few labels (--shots)", run_few, check=check)
