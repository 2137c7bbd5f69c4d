"""Tasks on classes: the images of each class are learned from, and told apart or found again."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from openjepa.encoder.encoder import Encoder
from openjepa.evaluation.corruptions import STRENGTHS
from openjepa.evaluation.intervals import accuracy_interval
from openjepa.evaluation.probes.attentive import attentive_probe
from openjepa.evaluation.probes.best_linear import validation_split
from openjepa.evaluation.protocol import aligned_labels, knn_result, named, result_of
from openjepa.evaluation.results import Result, mean_of
from openjepa.evaluation.session import Bench
from openjepa.evaluation.tasks.fewshot import DRAWS, draw_shots, fit_shots
from openjepa.evaluation.tasks.finetune import finetune
from openjepa.evaluation.tasks.retrieval import retrieve

Results = Iterator[Result]


def linear(bench: Bench) -> Results:
    for label, labels, truth in bench.labels():
        yield result_of(named("linear", label), bench.linear(label, labels), truth, bench.seed)


def knn(bench: Bench) -> Results:
    train, test = bench.features(bench.train)[0], bench.features(bench.test)[0]
    for label, labels, truth in bench.labels():
        yield knn_result(named("knn", label), train, labels, test, truth, bench.seed, bench.probe_device)


def fewshot(bench: Bench) -> Results:
    """Softmax regression on a few labelled images, over five draws of them."""
    train, test = bench.features(bench.train)[0].last, bench.features(bench.test)[0].last
    for label, labels, truth in bench.labels():
        for shot in bench.shots:
            correct, strengths = [], []
            for draw in range(DRAWS):
                rows = draw_shots(labels.numpy(), shot, bench.seed, draw, bench.train.dataset.classes[label])
                predictions, strength = fit_shots(train[rows], labels[rows], test, bench.seed, bench.probe_device)
                correct.append((predictions == truth).double())
                strengths.append(strength)
            protocol = {"probe": "softmax regression", "draws": DRAWS, "C": strengths, "train_images": len(rows)}
            scores = np.stack(correct)
            draws = scores.mean(1).tolist()
            yield Result(named(f"fewshot-{shot}", label), "accuracy", mean_of(scores.mean(0)), protocol, draws=draws)


def retrieval(bench: Bench) -> Results:
    """Test images ask for training images of their class."""
    train, test = bench.features(bench.train)[0].last, bench.features(bench.test)[0].last
    for label, labels, truth in bench.labels():
        hits, precision = retrieve(train, labels, test, truth, device=bench.probe_device)
        protocol = {"similarity": "cosine", "gallery": "train", "train_images": len(labels)}
        for k, hit in hits.items():
            yield Result(named(f"recall@{k}", label), "recall", mean_of(hit), protocol)
        yield Result(named("mAP", label), "mAP", mean_of(precision), protocol)


def attentive(bench: Bench) -> Results:
    (train, rows), (test, asked) = bench.tokens(bench.train), bench.tokens(bench.test)
    like = bench.train.dataset
    labels, truths = aligned_labels(like, like, rows), aligned_labels(bench.test.dataset, like, asked)
    fit, validation = validation_split(len(rows), bench.seed)
    for label, truth in truths.items():
        y = labels[label]
        probe = attentive_probe(train[fit], y[fit], train[validation], y[validation], test, bench.seed, bench.device)
        protocol = {"probe": "attentive", "validation_accuracy": probe.val_accuracy, **probe.setting}
        protocol |= {"train_images": len(rows)}
        yield Result(named("attentive", label), "accuracy", mean_of(probe.predictions == truth), protocol)


def finetuned(bench: Bench) -> Results:
    yield from _finetuned(bench, "finetune", None)


def fewshot_finetuned(bench: Bench) -> Results:
    for shot in bench.shots:
        yield from _finetuned(bench, f"finetune-{shot}", shot)


def _finetuned(bench: Bench, task: str, shot: str | None) -> Results:
    """The whole network on all training images, or on one draw of a few; raw pixels have no network to train."""
    if not isinstance(bench.model, Encoder):
        return
    kept = bench.features(bench.train)[1]
    for label, labels, truth in bench.labels():
        names = bench.train.dataset.classes[label]
        rows = draw_shots(labels.numpy(), shot, bench.seed, 0, names) if shot else np.arange(len(labels))
        images = bench.train.dataset.subset(kept[rows])
        tuned = finetune(
            bench.model, images, labels.numpy()[rows], len(names), bench.epochs, bench.seed, bench.store.workers
        )
        logits = tuned.logits(bench.test.dataset.subset(bench.features(bench.test)[1]), bench.store.workers)
        protocol = {**tuned.setting, "draws": 1, "seed": bench.seed, "train_images": len(rows)}
        yield Result(named(task, label), "accuracy", mean_of(logits.argmax(1) == truth), protocol)


def robustness(bench: Bench) -> Results:
    """The linear probe on up to 2,000 test images, clean and made worse: the mean over five strengths."""
    like, found = bench.train.dataset, defaultdict(list)
    for worse in bench.asked_worse():
        features, kept = bench.features_of(worse)
        found[worse.corruption].append((features, aligned_labels(worse, like, kept)))
    same = np.isin(bench.features(bench.test)[1], bench.asked(bench.test))
    for label, labels, truth in bench.labels():
        choice = bench.linear(label, labels)
        protocol = {"probe": "linear, fitted on clean images", "train_images": len(labels)}
        clean = (choice.probe.predictions == truth)[same]
        yield Result(named("robust-clean", label), "accuracy", mean_of(clean), protocol)
        for corruption, strengths in found.items():
            scores = [choice.predict(x) == truths[label] for x, truths in strengths]
            each = {"strengths": list(STRENGTHS), "by_strength": [accuracy_interval(right) for right in scores]}
            rows = mean_of(np.mean([right.double().numpy() for right in scores], axis=0))
            yield Result(named(f"robust-{corruption}", label), "accuracy", rows, protocol | each)
