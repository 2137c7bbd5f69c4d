"""The command line: quick to start, and a person's mistake is one line, exit code 2 and nothing written."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from support.photos import draw_photos
from support.processes import child

import openjepa
from openjepa import cli
from openjepa.commands import COMMANDS
from openjepa.commands.arguments.options import value_text
from openjepa.config import CHOICES, FIELDS, TYPES, build_config
from openjepa.errors import option
from openjepa.recipe_settings import RECIPES, recipe


def run(capsys, monkeypatch, *words):
    """Exit code and stderr of a command, in this process."""
    monkeypatch.setattr(sys, "argv", ["openjepa", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capsys.readouterr().err


def screen(capsys, monkeypatch, columns, *words):
    """What a command prints on a terminal of so many columns."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["openjepa", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    return capsys.readouterr().out


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def refused(capsys, monkeypatch, tmp_path):
    """Checks that a command is refused with a line that says all of the given words, and that nothing is written."""

    def check(words, *said):
        before = tree(tmp_path)
        code, err = run(capsys, monkeypatch, *words)
        assert code == 2
        assert err.count("\n") == 1 and err.startswith("openjepa: ")
        for word in said:
            assert word in err
        assert tree(tmp_path) == before

    return check


def test_help_and_version_do_not_import_torch():
    code = "import sys; from openjepa import cli\nsys.argv[1:] = ['{}']\ntry: cli.main()\nexcept SystemExit: pass\n"
    for flag in ("--help", "--version"):
        check = code.format(flag) + "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
        done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "pretrain" in done.stdout or openjepa.__version__ in done.stdout


def test_commands_that_do_not_train_do_not_import_what_only_training_needs():
    modules = [f"openjepa.commands.{name}" for name in ("embed", "evaluate", "export", "list_runs", "predict")]
    heavy = {"torch.utils.tensorboard", "torch.utils.flop_counter", "scipy.stats"}  # the second imports all of Triton
    heavy |= {"torch.distributed.fsdp", "torch.distributed.tensor", "matplotlib.figure"}
    heavy |= {"torch._dynamo"}  # some arithmetic on the device "meta" imports the compiler
    networks = (
        "from openjepa.models.resize import hollow, hollow_predictor\n"
        "hollow(image_size=(16, 16), patch_size=4, embed_dim=32, depth=2, num_heads=2)\n"
        "hollow_predictor(grid_size=(4, 4), embed_dim=32, dim=16, depth=1, num_heads=2)\n"
    )
    code = f"import sys, {', '.join(modules)}\n{networks}print({heavy} & set(sys.modules) or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "none\n"


def test_a_run_starts_without_what_its_report_needs():
    heavy = {"scipy.stats", "sklearn", "pandas", "matplotlib.figure", "openjepa.reports.run_page"}
    code = f"import sys, openjepa.commands.pretrain\nprint({heavy} & set(sys.modules) or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "none\n"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_a_function_and_has_a_help_screen(command, capsys, monkeypatch):
    assert getattr(openjepa, command.function) is command.load()
    assert command.name.split()[-1] in screen(capsys, monkeypatch, 80, *command.words, "--help").splitlines()[0]


def test_a_help_screen_has_every_setting_its_choices_and_what_a_run_without_options_uses(capsys, monkeypatch):
    text = screen(capsys, monkeypatch, 200, "pretrain", "--help")
    usual = build_config(recipe("laptop"), {})
    for name, value in vars(usual).items():
        about = text.split(f"\n  {option(name)}")[1].split("\n  --")[0]
        assert all(choice in about for choice in CHOICES.get(name, ()))
        assert value is None or f": {value_text(value)}]" in " ".join(about.split())
    assert "[recipe: 0.0005]" in text and "[default: 1e-06]" in text
    assert "Returns" not in text and "Raises" not in text
    assert "[default: 0.2]" in screen(capsys, monkeypatch, 80, "demo", "--help")  # its own context ratio


def test_a_help_screen_abridges_nothing(capsys, monkeypatch):
    for columns in (60, 80, 120):
        text = screen(capsys, monkeypatch, columns, "pretrain", "--help")
        assert "…" not in text and "--no-checkpoint-activations" in text
        assert max(map(len, text.splitlines())) <= columns


def test_recipes(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert openjepa.recipes().keys() == RECIPES.keys()
    settings = openjepa.recipes("paper")
    assert settings == vars(build_config(recipe("paper"), {}))
    row = next(line for line in capsys.readouterr().out.splitlines() if "--batch-size" in line)
    assert "2048" in row and " 16 " in row and "Images in a step" in row


def test_unknown_words(refused, photos, tmp_path):
    out = tmp_path / "run"
    refused(["pretrian"], "pretrian is not a command: did you mean", "pretrain")
    refused(["pretrain", photos, "--out", out, "--modle", "vit_nano"], "--modle", "--model")
    refused(
        ["pretrain", photos, "--out", out, "--model", "vit_nanno"], "vit_nanno", "did you mean vit_nano?", "vit_giant"
    )
    refused(["pretrain", photos, "--out", out, "--recipe", "labtop"], "labtop", "did you mean laptop?")
    refused(["pretrain", photos, "--out", out, "--masks", "multi"], "multi", "multiblock")
    refused(["pretrain", photos, "--out", out, "--lr", "fast"], "--lr", "number")
    refused(["pretrain", photos, "--out", out, "--time", "soon"], "--time soon", "10m")
    refused(["pretrain", photos, "--out", out, "--device", "tpu"], "tpu", "cpu")
    refused(["pretrain", photos], "--out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", "fast"], "--lr fast is not possible: give a number"),
        (["--steps=1.5"], "--steps 1.5 is not possible: give a whole number"),
        (["--crop-scale", "0.5", "x"], "--crop-scale 0.5 x is not possible: give a number"),
        (["--lr"], "--lr needs a value: give it after the option"),
        (["--crop-scale", "0.5"], "--crop-scale needs 2 values: give them after the option"),
        (["--resume=yes"], "--resume takes no value: give the option alone"),
        (["--modle", "a"], "--modle is not an option of this command: did you mean --model?"),
        (["more"], "more is more than the command takes"),
        (["--init", ""], "--init is empty: give a value, or leave it out"),
        (["--init="], "--init is empty: give a value, or leave it out"),
        (["--out", " "], "--out is empty: give a value, or leave it out"),
        ([""], "an argument is empty"),
    ],
)
def test_every_mistake_is_said_in_one_style(words, said, refused):
    refused(["pretrain", "photos", "--out", "run", *words], said)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("batch_size", 8.5, "--batch-size 8.5 is not possible: give a whole number of at least 1"),
        ("batch_size", True, "--batch-size True is not possible"),
        ("lr", "1e-3", "--lr '1e-3' is not possible: give a number above 0"),
        ("lr", float("nan"), "--lr nan is not possible"),
        ("any_orientation", "no", "--any-orientation 'no' is not possible: give True or False"),
        ("device", 3, "--device 3 is not possible: give text"),
        ("init", "", "--init '' is not possible"),
        ("crop_scale", ("a", 1), "--crop-scale a 1 is not possible: give two rising numbers above 0 and at most 1"),
        ("weight_decay", (0.1, -1), "--weight-decay 0.1 -1 is not possible: give two numbers of 0 or more"),
        ("masks_per_image", 10**9, "--masks-per-image 1000000000 is not possible: give at most 1,024"),
        ("predictor_dim", 10**12, "--predictor-dim 1000000000000 is not possible: give at most 16,384"),
        ("image_size", 100_000, "--image-size 100000 is not a size"),
        ("image_size", 5000, "--image-size 5000 in patches of --patch-size 8 is 390,625 patches"),
        ("seed", 2**63, "--seed 9223372036854775808 is not possible: give at most"),
        ("time", "9" * 400, "is not a duration"),
        ("batch_size", 10**9, "of memory or more, and this machine has .*: give [0-9]+ or less"),
        ("predictor_depth", 512, "of memory or more, and this machine has"),
    ],
)
def test_settings_are_checked_by_type_and_size_before_any_work(name, value, said, photos, tmp_path):
    given = {"device": "cpu", name: value} | ({"predictor_dim": 16_384} if name == "predictor_depth" else {})
    with pytest.raises(openjepa.UsageError, match=said) as caught:
        openjepa.pretrain(photos, out=tmp_path / "run", **given)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", FIELDS)
def test_a_value_of_a_wrong_type_is_refused_by_the_name_of_its_setting(name, tmp_path):
    wrong = [object(), b"8", [], {}, ("x",), torch.ones(2), [0.5, None], lambda: 1]
    optional = type(None) in get_args(TYPES[name])
    for value in wrong + [None] * (not optional):
        with pytest.raises(openjepa.UsageError) as caught:
            openjepa.pretrain(tmp_path / "none", out=tmp_path / "run", **{name: value})
        assert option(name) in str(caught.value) and "\n" not in str(caught.value)


def test_values_of_other_libraries_are_taken(photos):
    given = {"batch_size": np.int64(8), "device": torch.device("cpu"), "init": Path("x"), "crop_scale": [1, 1]}
    config = build_config({}, given)
    assert (config.batch_size, config.device, config.init, config.crop_scale) == (8, "cpu", "x", (1.0, 1.0))


def test_impossible_settings(refused, photos, tmp_path):
    out = tmp_path / "run"
    refused(
        ["pretrain", photos, "--out", out, "--patch-size", 5],
        "not a multiple of patch size 5",
        "give --image-size 30, or --patch-size 4",
    )
    refused(
        ["pretrain", photos, "--out", out, "--masks", "multiblock", "--context-ratio", 0.6],
        "context_ratio 0.6",
        "--context-ratio 0.25",
    )
    refused(["pretrain", photos, "--out", out, "--image-size", "16x8", "--patch-size", 8], "too small to mask")
    refused(["pretrain", photos, "--out", out, "--batch-size", 0], "--batch-size 0", "at least 1")
    refused(["pretrain", photos, "--out", out, "--target-scale", 0.5, 0.2], "--target-scale 0.5 0.2")
    refused(["pretrain", photos, "--out", out, "--predictor-dim", 30], "--predictor-dim 30", "such as 32")
    with pytest.raises(openjepa.UsageError, match=r"setting batchsize is not known.*did you mean batch_size"):
        openjepa.pretrain(photos, out=out, batchsize=3)


def test_sources_without_images(refused, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("hello")
    out = tmp_path / "run"
    refused(["pretrain", tmp_path / "fotos", "--out", out], "does not exist", "photos")
    refused(["pretrain", tmp_path / "empty", "--out", out], "no images")
    refused(["pretrain", tmp_path / "notes", "--out", out], "no images", ".txt 1")
    refused(["pretrain", "scenes:many", "--out", out], "scenes:many")
    for part in ("train", "test"):
        draw_photos(tmp_path / "both" / part, 4)
    refused(["pretrain", tmp_path / "both", "--out", out], "train", "test")


def test_images_smaller_than_a_patch(refused, tmp_path):
    (tmp_path / "tiny").mkdir()
    for i in range(3):
        Image.fromarray(np.full((3, 9, 3), 80 * i, np.uint8)).save(tmp_path / "tiny" / f"{i}.png")
    refused(
        ["pretrain", tmp_path / "tiny", "--out", tmp_path / "run"], "3 px", "smaller than a patch", "--patch-size 3"
    )


def test_an_output_folder_in_use(refused, photos, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("precious")
    refused(["pretrain", photos, "--out", tmp_path / "used"], "not empty", "another name")
    refused(["pretrain", photos, "--out", tmp_path / "used", "--resume"], "no run to resume")
    (tmp_path / "used" / "config.json").write_text("{}")
    refused(["pretrain", photos, "--out", tmp_path / "used"], "holds another run", "--resume")
    refused(["pretrain", photos, "--out", tmp_path / "used", "--resume"], "damaged")


def test_places_that_cannot_be_written(refused, photos, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    refused(["pretrain", photos, "--out", tmp_path / "notes.txt" / "run"], "notes.txt is a file")
    refused(["evaluate", "pixels", photos, "--json", tmp_path / "notes.txt" / "x.json"], "notes.txt is a file")
    refused(["evaluate", "pixels", photos, "--json", photos], "is a folder")
    refused(["embed", "pixels", photos, "--out", tmp_path / "notes.txt" / "x.parquet"], "notes.txt is a file")


def test_machine_options(refused, photos, tmp_path):
    refused(["evaluate", "pixels", photos, "--precision", "fp16"], "precision fp16", "bf16")
    refused(["evaluate", "pixels", photos, "--workers", -1], "--workers -1")
    refused(["embed", "pixels", photos, "--out", tmp_path / "x.parquet", "--device", "cpu:x"], "cpu:x")
    refused(["pretrain", photos, "--out", tmp_path / "run", "--seed", -1], "--seed -1", "0 or more")
    refused(["pretrain", photos, "--out", tmp_path / "run", "--epochs", "inf"], "--epochs inf")
    with pytest.raises(openjepa.UsageError, match="--crop-scale"):
        openjepa.pretrain(photos, out=tmp_path / "run", crop_scale=(0.3,))
    with pytest.raises(openjepa.UsageError, match="--weight-decay"):
        openjepa.pretrain(photos, out=tmp_path / "run", weight_decay=0.05)


def test_models_that_are_none(refused, photos, tmp_path):
    refused(["evaluate", tmp_path / "nothing", photos], "nothing does not exist")
    refused(["evaluate", photos, photos], "neither a run nor an artifact")
    refused(["evaluate", "untrained:vit_nono", photos], "vit_nono", "vit_nano")
    refused(["evaluate", "pixels", photos, "--tasks", "liner"], "liner", "did you mean linear?")
    refused(["embed", "pixels", photos, "--out", tmp_path / "x.txt"], ".parquet")


def test_data_that_cannot_be_measured(refused, tmp_path):
    flat = draw_photos(tmp_path / "flat", 6, classes=())
    refused(["evaluate", "pixels", flat], "no labels", "one folder a class")
    lonely = draw_photos(tmp_path / "lonely", 3, classes=("a", "b", "c"))
    refused(["evaluate", "pixels", lonely], "single image (a, b, c)", "at least 2 images of at least 2 classes")
    others = draw_photos(tmp_path / "others", 6, classes=("x", "y"))
    refused(["evaluate", "pixels", draw_photos(tmp_path / "photos", 24), "--test", others], "classes", "x, y")


def test_a_second_ctrl_c_prints_no_traceback():
    code = "import atexit, sys, time\nfrom openjepa import cli\n"
    code += "def stop(words): raise KeyboardInterrupt\ncli.run = stop\n"
    code += "atexit.register(lambda: (print('ending', flush=True), time.sleep(100)))\ncli.main()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ending\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


def print_to(path, errors, words):
    sys.stdout, sys.stderr = (os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT), "w") for name in (path, errors))
    sys.argv = ["openjepa", *words]
    try:
        cli.main()
    finally:
        sys.stderr.flush()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["recipes"], ["recipes", "--help"]])
def test_a_full_disk_under_the_output_is_one_line(tmp_path, words):
    process = child(print_to, "/dev/full", tmp_path / "errors", words)
    process.join(20)
    err = (tmp_path / "errors").read_text()
    assert process.exitcode == 2 and err.count("\n") == 1 and "No space left on device" in err


def test_an_error_of_the_system_is_one_line(capsys, monkeypatch):
    def fail(words):
        raise OSError(28, "No space left on device", "runs/a")

    monkeypatch.setattr(cli, "run", fail)
    assert run(capsys, monkeypatch, "recipes") == (2, "openjepa: runs/a: No space left on device\n")
