"""The scripts whose numbers the documentation states: what they say of planted results, and a few steps of each."""

import ast
import importlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from support.photos import draw_photos

from openjepa.commands import COMMANDS
from openjepa.config import build_config
from openjepa.methods.registry import METHODS, Entry
from openjepa.recipe_settings import recipe
from openjepa.runs.planning.build_model import build_model

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_script_imports_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("openjepa"):
            module = importlib.import_module(str(node.module))
            for name in (each.name for each in node.names):
                assert hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}"), name


def test_every_command_is_tried_as_another_user():
    assert script("users").WORDS.keys() == {command.name for command in COMMANDS}


learning = script("learning")


def row(method, images, score, minutes=None, **more):
    scores = dict.fromkeys(learning.SCORES, score)
    return {"method": method, "minutes": minutes, "images": images, "part": "test", **scores, **more}


def test_a_spread_is_students_interval_for_the_mean():
    assert learning.spread([50.0]) == "50.0"
    assert learning.spread([50.0, 51.0, 52.0]) == "51.0 ± 2.5"  # 4.303 * 1 / 3 ** .5


def test_equal_images_are_found_and_precisions_kept_apart(capsys):
    rows = [row("pure", 68_192, 58.0, 10.0, precision="float32"), row("pure", 68_192, 57.0, 10.0, precision="bf16")]
    rows += [row("mae", 68_160, 56.0), row("mae", 187_000, 59.0, 10.0), row("untrained", 0, 45.0, 0)]
    rows += [row("untrained", 0, 48.0, 0, model="vit_micro")]
    learning.table(rows, None, 68_192)
    said = capsys.readouterr().out
    assert "| pure, float32 | 1 | 68k | 58.0" in said and "| pure, bf16 | 1 | 68k | 57.0" in said
    assert (
        "| mae | 1 | 68k | 56.0" in said
        and "| untrained | 1 | 0k | 45.0" in said
        and "59.0" not in said
        and "vit_micro" not in said
    )


def test_a_method_is_the_recipes_own_sizes():
    assert [learning.usual_model("pure", minutes) for minutes in (10, 30)] == ["vit_nano", "vit_micro"]
    assert [learning.config_of("pure", model=model).predictor_dim for model in learning.MODELS] == [64, 128]
    sizes = [learning.config_of(method, model="vit_micro") for method in ("mae", "reference")]
    assert [(config.batch_size, config.predictor_dim) for config in sizes] == [(64, 64), (256, 64)]


def test_the_gap_is_split_into_images_a_second_and_learning_an_image(capsys):
    rows = [row("pure", 68_192, 58.0, 10.0), row("mae", 68_160, 56.5), row("mae", 187_000, 59.0, 10.0)]
    learning.gap(rows, 10.0)
    said = capsys.readouterr().out
    assert "| pure | linear | +1.0 | -1.5 | +2.5 |" in said and "| hybrid | needs runs of hybrid" in said


def test_a_learning_run_records_its_images_and_its_precision(tmp_path, monkeypatch):
    draw_photos(tmp_path / "data" / "train", 24)
    monkeypatch.setattr(learning, "measured", lambda model, data, test: {"linear": 50.0})
    monkeypatch.setitem(learning.METHODS, "pure", ("laptop", {"image_size": "16", "predictor_depth": 1}))
    asked, train = [], learning.pretrain

    def train_in_float32(data, *, precision, **how):  # bf16 takes long on some processors
        asked.append(precision)
        train(data, precision="float32", **how)

    monkeypatch.setattr(learning, "pretrain", train_in_float32)
    line = learning.run(
        str(tmp_path / "data"), "pure", 0, True, tmp_path / "run", "vit_nano", images=30, precision="bf16"
    )
    assert (line["images"], line["minutes"], line["precision"]) == (32, None, "bf16")
    assert json.dumps(line) and line["verdicts"][-1][0] == 1.0 and asked == ["bf16"]


alarms = script("alarms")


def test_every_broken_run_can_be_made_and_is_judged_before_half_time(tmp_path, monkeypatch):
    draw_photos(tmp_path / "photos")
    monkeypatch.setattr(alarms, "RESULTS", tmp_path)
    monkeypatch.setattr(alarms, "STEPS", 4)
    monkeypatch.setitem(METHODS, "ijepa", METHODS["ijepa"])  # restored afterwards
    monkeypatch.setattr("openjepa.training.monitoring_intervals.LEAST_IMAGES", 1)
    alarms.run(str(tmp_path / "photos"), "late-stop-gradient", 4)
    told = json.loads((tmp_path / "alarms-late-stop-gradient.json").read_text())
    judged = [r["step"] for r in told["records"] if r["step"] and r["status"] != "early"]
    assert judged[0] <= 2 and told["networks"] == "LostStopGradient" and told["precision"] in ("bf16", "float32")


@pytest.mark.parametrize("name", alarms.CASES)
def test_what_is_broken_is_what_the_name_says(name, monkeypatch):
    settings, network = alarms.CASES[name]
    monkeypatch.setitem(METHODS, "ijepa", Entry(network.__module__, network.__name__, "one case"))
    config = build_config(recipe("laptop"), settings | {"steps": alarms.STEPS})
    model = build_model(config)
    faint = float(model.context_encoder.patch_embed.proj.weight.detach().std()) < 0.03
    assert faint == name.startswith(("faint", "published", "positional"))
    targets = model.targets(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 2, dtype=torch.int64))
    assert targets.requires_grad == (name == "no-stop-gradient")


def test_the_table_names_the_first_alarm():
    good = {"std": 0.4, "positional_fraction": 0.1, "energy_gap": 0.5, "ema_distance": 0.1}
    start, low, end = ({"step": step, "rank": rank} | good for step, rank in ((0, 20.0), (40, 9.0), (100, 19.0)))
    said = alarms.in_words({"steps": 100, "records": [start | {"linear": 0.4}, low, end | {"linear": 0.3}]})
    assert said == ["dimensional collapse at 40%", "healthy", "20.0 to 19.0", "40.0 to 30.0"]


def test_the_gpu_script_runs_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as the script sets it
    words = ["gpu.py", "--device", "cpu", "--tiny", "--out", str(tmp_path), "--carry", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        script("gpu").main()
    rows = [json.loads(line) for line in (tmp_path / "gpu-cpu-tiny.jsonl").read_text().splitlines()]
    assert end.value.code == 0, [row for row in rows if "error" in row]
    assert [row["part"] for row in rows if row["name"] == "end"] == ["correctness", "speed", "learning"]
    assert not [row for row in rows if row.get("holds") is False]
    assert {row["task"] for row in rows if row["name"] == "score"} == {"linear", "knn"}


def test_a_part_of_the_gpu_script_is_a_process_that_is_ended_in_time(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(gpu, "GRACE", 0)
    (tmp_path / "gpu_speed.py").write_text("import sys, time\nprint(sys.argv)\ntime.sleep(60)\n")
    (tmp_path / "gpu_learning.py").write_text("import sys\nsys.exit('--settings' not in sys.argv)\n")
    words = ["gpu.py", "--device", "cpu", "--limit", "0.5", "--out", str(tmp_path), "--settings", "lr=1"]
    monkeypatch.setattr(sys, "argv", [*words, "--parts", "speed", "learning"])
    with pytest.raises(SystemExit) as end:
        gpu.main()
    rows = [json.loads(line) for line in (tmp_path / "gpu-cpu.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["time limit", 0]
    assert end.value.code == 1


def test_killed_commands_go_on_and_end_equal(tmp_path):
    kills = script("kills")
    chosen = [small for small in kills.COMMANDS if small.name in ("embed", "data prepare")]
    rows = kills.measure(2, 0, tmp_path, chosen)
    assert [row["kills"] for row in rows] == [1, 1]
    assert not any(row[fault] for row in rows for fault in kills.FAULTS)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    full_disk = script("full_disk")
    try:
        with full_disk.small_disk(tmp_path / "disk"):
            pass
    except OSError as error:
        pytest.skip(f"no small disk can be mounted: {error}")
    chosen = [small for small in full_disk.COMMANDS if small.name == "import"]
    rows = full_disk.measure(1, 0, tmp_path, chosen)
    assert not any(row[fault] for row in rows for fault in full_disk.FAULTS)
