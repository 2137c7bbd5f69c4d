"""Every task on planted answers (near 100) and on noise (chance, within the interval), as `evaluate` runs it."""

import numpy as np
import pytest
import torch

from openjepa.data.dataset import UNLABELLED
from openjepa.data.memory import ImagesInMemory
from openjepa.encoder import whitening
from openjepa.encoder.baselines import PatchPixels, seeded
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.errors import UsageError
from openjepa.evaluation import run_tasks
from openjepa.evaluation import session as session_module
from openjepa.evaluation.annotations.object_annotations import Annotation
from openjepa.evaluation.annotations.targets import CLEVR_EDGES, Maps, Targets
from openjepa.evaluation.finetuning import tuner
from openjepa.evaluation.session import Part, Session
from openjepa.evaluation.tasks import finetune, knn
from openjepa.evaluation.tasks.registry import TASKS

CLASSES, SIDE, PATCH = 4, 16, 4
PAINTS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [190, 190, 60]], np.float32)


def pictures(n: int, seed: int, planted: bool, painted: int = SIDE // 2, grain: float = 25, paints=PAINTS) -> Part:
    """Images painted by class if `planted`, else by chance, in the left `painted` columns; and targets that agree.

    `grain` is the deviation of the noise on all pixels, in levels of 255.
    """
    rng = np.random.default_rng(seed)
    answers = rng.integers(CLASSES, size=n)
    paint = answers if planted else rng.integers(CLASSES, size=n)
    images = rng.normal(110, grain, (n, SIDE, SIDE, 3)).astype(np.float32)
    images[:, :, :painted] += paints[paint][:, None, None] - 110
    pixels = np.clip(images, 0, 255).astype(np.uint8)
    paths = [f"{seed}-{index:04}" for index in range(n)]
    shapes = np.full((n, 2), SIDE)
    starts = np.arange(n) * SIDE * SIDE * 3
    names = {"class": [f"c{k}" for k in range(CLASSES)]}
    dataset = ImagesInMemory("planted", paths, {"class": answers}, names, pixels.reshape(-1), starts, shapes)
    place = {path: index for index, path in enumerate(paths)}

    def mask(path: str) -> np.ndarray:
        values = np.zeros((SIDE, SIDE), np.int64)
        values[:, :painted] = 1 + answers[place[path]]
        return values

    def depth(path: str) -> np.ndarray:
        values = np.full((SIDE, SIDE), 3.0)
        values[:, :painted] += (PAINTS[answers[place[path]]] - 110) @ (0.01, 0.02, -0.01)
        return values

    annotations = {p: Annotation(int(a) + 1, 7.8 + 0.5 * int(a)) for p, a in zip(paths, answers, strict=True)}
    maps = (Maps(frozenset(paths), read) for read in (depth, mask))
    return Part(dataset, Targets(annotations, CLEVR_EDGES, *maps))


VIVID = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250], [250, 250, 10]], np.float32)
PLAIN = {"painted": SIDE, "grain": 8, "paints": VIVID}  # nothing between the paint and the answer


def make_session(tmp_path, planted: bool, model=None, images: dict | None = None, **settings) -> Session:
    parts = pictures(600, 0, planted, **(images or {})), pictures(300, 1, planted, **(images or {}))
    model = model or PatchPixels((SIDE, SIDE), PATCH)
    return Session(
        model, *parts, FeatureStore(tmp_path, 0), patches=((SIDE, SIDE), PATCH), shots=("10", "10%"), **settings
    )


def encoder() -> Encoder:
    network = seeded(0, image_size=(SIDE, SIDE), patch_size=PATCH, embed_dim=32, depth=2, num_heads=2)
    return Encoder(network, [0.45] * 3, [0.25] * 3, "small")


ACCURACIES = ("linear", "knn", "knn-whitened", "fewshot", "attentive", "robustness", "count", "distance")


@pytest.mark.parametrize("task", ACCURACIES)
def test_planted_answers_are_found(tmp_path, task):
    images = PLAIN if task == "robustness" else {}
    results = [
        result for result in TASKS[task].run(make_session(tmp_path, True, images=images)) if result.metric == "accuracy"
    ]
    assert results
    for result in results:
        assert result.record()["value"] >= 0.95, result.task


@pytest.mark.parametrize("task", ACCURACIES)
def test_noise_scores_chance(tmp_path, task):
    for result in TASKS[task].run(make_session(tmp_path, False)):
        if result.metric == "accuracy":
            record = result.record()
            # a 95 % interval of one draw: a little room, so that the test asks for a gross fault and not for luck
            assert record["low"] - 0.02 <= 1 / CLASSES <= record["high"] + 0.02, record


def test_labels_of_one_readable_image_are_not_learned_from(tmp_path):
    session = make_session(tmp_path, True)
    labels = session.train.dataset.labels["class"]
    labels[1:] = UNLABELLED
    with pytest.raises(UsageError, match=r"1 image of .* with a class can be read, and learning needs 2"):
        run_tasks.measure(session, ["linear"])
    session = make_session(tmp_path, True)
    session.test.dataset.labels["class"][:] = UNLABELLED
    with pytest.raises(UsageError, match=r"0 images of .* and testing needs 1"):
        run_tasks.measure(session, ["knn"])


def test_whitening_needs_enough_images_and_not_too_many_numbers(tmp_path, monkeypatch):
    session = make_session(tmp_path, True)
    monkeypatch.setattr(whitening, "MOST_NUMBERS", 1)
    assert list(TASKS["knn-whitened"].run(session)) == []
    monkeypatch.setattr(knn, "LEAST_IMAGES", 601)
    with pytest.raises(UsageError, match=r"knn-whitened needs 601 images to learn from, and .* has 600"):
        run_tasks.check(session, ["knn-whitened"])


@pytest.mark.parametrize("task", [name for name in TASKS if "finetune" not in name])
def test_fetch_computes_all_features_that_a_task_reads(tmp_path, task):
    session = make_session(tmp_path, True)
    run_tasks.fetch(session, [task])
    computed = session.store.computed
    assert list(TASKS[task].run(session)) and session.store.computed == computed > 0


def test_fine_tuning_learns_what_is_planted_and_chance_from_noise(tmp_path):
    told, noise = make_session(tmp_path, True, encoder(), epochs=8), make_session(tmp_path, False, encoder(), epochs=2)
    (planted,), (chance,) = TASKS["finetune"].run(told), TASKS["finetune"].run(noise)
    assert planted.record()["value"] > 0.95
    how = chance.record()["protocol"]  # 2 epochs of 600 images are 19 steps of 64, and 60 are the least
    assert (how["steps"], how["batch_size"], how["epochs"]) == (60, 64, pytest.approx(6.4))
    assert (how["learning_rate"], how["weight_decay"], how["layer_decay"]) == (1e-3, 0.05, 0.75)
    assert chance.record()["low"] - 0.02 <= 1 / CLASSES <= chance.record()["high"] + 0.02
    few = make_session(tmp_path, True, encoder(), PLAIN)
    assert {r.task: r.record()["value"] > 0.95 for r in TASKS["fewshot-finetune"].run(few)} == {
        "finetune-10": True,
        "finetune-10%": True,
    }


def test_fine_tuning_in_parts_is_the_same_and_parts_hold_what_they_say(monkeypatch):
    model, part = encoder(), pictures(64, 0, True)
    labels = part.dataset.labels["class"]

    def logits():
        return finetune.finetune(model, part.dataset, labels, CLASSES, 1, 0, 0).all_outputs(part.dataset, 0)[0]

    kept: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.update({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes()}) or x, lambda x: x
    ):
        tokens = model.network.requires_grad_(True)(torch.zeros(50, 3, SIDE, SIDE))
    weights = sum(4 * value.numel() for value in model.network.parameters())
    assert tokens.requires_grad
    monkeypatch.setattr(tuner, "HELD", sum(kept.values()) - weights)
    assert 40 <= tuner.images_that_fit(model) <= 60
    monkeypatch.setattr(finetune, "LEAST_STEPS", 3)
    in_parts = logits()
    monkeypatch.undo()
    monkeypatch.setattr(finetune, "LEAST_STEPS", 3)
    assert tuner.images_that_fit(model) > 64
    torch.testing.assert_close(in_parts, logits(), atol=1e-3, rtol=1e-3)


def test_fine_tuning_leaves_the_encoder_alone_and_pixels_out(tmp_path):
    model = encoder()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    list(TASKS["fewshot-finetune"].run(make_session(tmp_path, True, model, epochs=0.1)))
    assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())
    assert not list(TASKS["finetune"].run(make_session(tmp_path, True)))


@pytest.mark.parametrize("task", [name for name in TASKS if "finetune" not in name])
def test_always_giving_the_same_answer_scores_what_is_known_of_it(tmp_path, task):
    """The constant's score, of every task, is what one that knows the training answers alone can reach."""
    made = make_session(tmp_path, False, images=PLAIN)
    truth, known = (part.dataset.labels["class"] for part in (made.test, made.train))
    commonest = np.bincount(known).argmax()
    share, counts = np.mean(truth == commonest), known + 1
    unlike = [np.sum(known != label) for label in truth]
    depths = [[part.targets.depth(path) for path in part.dataset.paths] for part in (made.train, made.test)]
    expected = {
        "count-error": np.abs(truth + 1 - counts.mean()).mean(),
        "recall@1": np.mean([np.mean(known == label) for label in truth]),
        "recall@10": np.mean([1 - np.prod((others - np.arange(10)) / (600 - np.arange(10))) for others in unlike]),
        "mAP": np.mean([np.mean(known == label) for label in truth]),
        "depth": np.sqrt(np.mean((np.array(depths[1]) - np.mean(depths[0])) ** 2)),
        "segment": share / 4,
    }
    for result in TASKS[task].run(made):
        value = result.constant.record()["value"]
        if result.task.startswith(("appearance", "semantics")):
            assert abs(value) < 0.05
        elif result.task != "depth-delta1":
            assert value == pytest.approx(expected.get(result.task, share), abs=1e-4), result.task
        assert result.constant.record()["protocol"]["answer"]
        assert len(result.constant.rows) == len(result.rows)


def test_retrieval(tmp_path):
    told = {r.task: r.record()["value"] for r in TASKS["retrieval"].run(make_session(tmp_path, True, images=PLAIN))}
    noise = {r.task: r.record() for r in TASKS["retrieval"].run(make_session(tmp_path, False))}
    assert told["recall@1"] > 0.95 and told["mAP"] > 0.95
    assert noise["recall@1"]["low"] - 0.02 <= 0.25 <= noise["recall@1"]["high"] + 0.02
    # of 600 in random order, 150 of them wanted: the first wanted ones are found early by luck
    luck = sum(1 / k for k in range(1, 601))
    chance = (149 / 599 * (600 - luck) + luck) / 600
    assert noise["mAP"]["low"] - 0.01 <= chance <= noise["mAP"]["high"] + 0.01


def test_depth_and_segments(tmp_path):
    def records(told, task):
        return {r.task: r.record() for r in TASKS[task].run(make_session(tmp_path, told, images=PLAIN))}

    told, noise = records(True, "depth"), records(False, "depth")
    assert told["depth"]["value"] < 0.1 and told["depth-delta1"]["value"] > 0.98
    parts = make_session(tmp_path, False, images=PLAIN)
    depths, mean = ([part.targets.depth(p)[0, 0] for p in part.dataset.paths] for part in (parts.test, parts.train))
    mean = np.mean(mean)  # what there is to say for one that knows nothing
    errors = np.maximum(depths / mean, mean / np.array(depths))
    for task, chance in (("depth", np.std(depths)), ("depth-delta1", np.mean(errors < 1.25))):
        assert noise[task]["low"] - 0.05 <= chance <= noise[task]["high"] + 0.05
    assert records(True, "segment")["segment"]["value"] > 0.95
    lost = records(False, "segment")["segment"]
    # four classes alike: always saying one has 1/4 of its pixels, a quarter of all; saying all as often 1/16 of 7/16
    assert lost["low"] - 0.01 <= 1 / 7 and lost["high"] + 0.01 >= 1 / 16


def test_every_strength_has_its_interval_and_the_same_images_stand_clean_beside(tmp_path, monkeypatch):
    monkeypatch.setattr(session_module, "TEST_IMAGES", 120)
    made = make_session(tmp_path, True)
    clean, *worse = TASKS["robustness"].run(made)
    (whole,) = TASKS["linear"].run(made)
    chosen = made.sample(made.test)
    assert clean.task == "robust-clean" and len(worse) == 4 and len(chosen) == 120
    assert clean.rows.tolist() == whole.rows[chosen].tolist()
    for result in worse:
        strengths = result.record()["protocol"]["by_strength"]
        assert len(result.rows) == 120 and all(low <= value <= high for value, low, high in strengths)
        assert np.mean([value for value, _, _ in strengths]) == pytest.approx(result.record()["value"])


def test_count_error_is_in_objects(tmp_path):
    told = {r.task: r.record() for r in TASKS["count"].run(make_session(tmp_path, True))}
    noise = {r.task: r.record() for r in TASKS["count"].run(make_session(tmp_path, False))}
    assert told["count-error"]["metric"] == "mean error" and told["count-error"]["value"] < 0.5
    assert abs(noise["count-error"]["value"] - 1.0) < 0.15  # the mean distance of 1..4 from 2.5
    assert told["count"]["protocol"]["classes"] == ["1", "2", "3", "4"]


def test_appearance_and_semantics(tmp_path):
    told = {r.task: r.record()["value"] for r in TASKS["probe-appearance"].run(make_session(tmp_path, True))}
    noise = {r.task: r.record() for r in TASKS["probe-appearance"].run(make_session(tmp_path, False))}
    assert told["appearance:colour"] > 0.95 and told["appearance:brightness"] > 0.95
    assert told["semantics:class"] > 0.9
    assert noise["appearance:colour"]["value"] > 0.95  # the paint is there, and says nothing of the class
    assert noise["semantics:class"]["low"] - 0.03 <= 0 <= noise["semantics:class"]["high"] + 0.03


def test_what_a_task_lacks_is_said(tmp_path):
    plain = [Part(part.dataset) for part in (pictures(40, 0, True), pictures(20, 1, True))]
    lacking = Session(PatchPixels((SIDE, SIDE), PATCH), *plain, FeatureStore(tmp_path, 0))
    for task, option in (
        ("count", "--annotations"),
        ("distance", "--annotations"),
        ("depth", "--depths"),
        ("segment", "--masks"),
    ):
        with pytest.raises(UsageError, match=option):
            run_tasks.check(lacking, [task])
    many = Session(lacking.model, *plain, lacking.store, shots=("1000",))
    with pytest.raises(UsageError, match="more images than class c0 has"):
        run_tasks.check(many, ["fewshot"])


def test_tokens_that_would_not_fit_the_disk_are_fewer_images(tmp_path, monkeypatch):
    made = make_session(tmp_path, True)
    monkeypatch.setattr(session_module, "TOKEN_BYTES", 4 * 16 * 48 * 50)  # 50 images of 16 tokens of 48 numbers
    tokens, rows = made.tokens(made.train)
    assert len(tokens) == len(rows) == 50 and (np.diff(rows) > 0).all()
    (result,) = TASKS["attentive"].run(made)
    assert result.record()["protocol"]["train_images"] == 50
