"""`openjepa doctor` says what is wrong with an installation, and no names or secrets, whatever is broken."""

import getpass
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import openjepa
from openjepa.errors import CheckFailed
from openjepa.installation import checks, packages, report
from openjepa.installation.asking import Answer, Questions
from openjepa.installation.variables import variables, without_names

ROOT = Path(__file__).parents[2]


def ask(*questions):
    with Questions(questions) as asked:
        return asked.answers()


def check_of(found: dict, name: str) -> dict:
    return next(check for check in found["checks"] if check["name"] == name)


def status_of(name: str) -> checks.Check:
    """A check that needs no answer of a child."""
    blank = {question: Answer() for question in [*checks.package_questions(), *checks.working_questions()]}
    return next(check for check in checks.all_checks(blank) if check.name == name)


def broken(folder: Path, name: str, code: str) -> None:
    """A package that is found before the one that is installed, and fails."""
    (folder / f"{name}.py").write_text(code)


class Working(Questions):
    """Answers as of an installation that works, without asking."""

    def __init__(self, questions) -> None:
        self.left = questions

    def __exit__(self, *_) -> None:
        pass

    def answers(self):
        known = {"train cpu": {"loss": 0.7, "precision": "float32"}}
        known["pytorch"] = {
            "version": "9.9",
            "cuda": "",
            "instructions": "AVX2",
            "cores": 4,
            "threads": 4,
            "memory": 2**30,
        }
        known["devices"] = [{"name": "cpu", "precision": "float32", "memory": 2**30}]
        return {question: Answer(known.get(question)) for question in self.left}


def test_an_installation_that_works(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "package_questions", lambda: ["import safetensors"])  # all of them take long
    monkeypatch.setenv("OPENJEPA_CACHE", str(tmp_path / "new" / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    monkeypatch.setenv("HF_ENDPOINT", "https://alice:password@hub.example")
    found = openjepa.doctor(json=True)
    assert json.loads(capsys.readouterr().out) == found and found["ok"]
    assert {check["status"] for check in found["checks"]} <= {"ok", "warning"}
    names = {"required packages", "decoding JPEG", "decoding PNG", "training step on cpu", "cache", "temporary files"}
    assert names <= {check["name"] for check in found["checks"]}
    assert found["devices"][-1]["name"] == "cpu" and found["devices"][-1]["precision"] in ("float32", "bfloat16")
    assert found["facts"]["openjepa"].startswith(openjepa.__version__) and "usable" in found["facts"]
    assert found["environment"]["HF_TOKEN"] == "set" and "hub.example" in found["environment"]["HF_ENDPOINT"]
    assert "hf_abc" not in str(found) and "password" not in str(found) and str(Path.home()) + "/" not in str(found)
    assert list((tmp_path / "new" / "cache").iterdir()) == []


def test_pytorch_that_cannot_be_imported(tmp_path):
    broken(tmp_path, "torch", "raise ImportError('libcudart.so.12: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['openjepa', 'doctor']\n"
    code += "from openjepa import cli\nfrom openjepa.installation import report\n"
    code += "report.package_questions = lambda: ['import torch', 'import yaml']\ncli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Traceback" not in done.stdout + done.stderr
    assert "required packages failed: install PyTorch again" in done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("  failed")]
    assert any("required packages" in line and "import torch: ImportError: libcudart.so.12" in line for line in lines)
    assert any("training step on cpu" in line and "install PyTorch again" in line for line in lines)
    assert (
        done.stdout.startswith("openjepa  ")
        and "processor  " in done.stdout
        and "ok       decoding JPEG" in done.stdout
    )


def test_a_package_that_crashes_or_cannot_be_imported_does_not_end_it(tmp_path, monkeypatch):
    broken(tmp_path, "h5py", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    broken(tmp_path, "pydicom", "import sys; sys.exit('no licence')")
    broken(tmp_path, "xlsxwriter", "print('{\"value\": 1}'); import os; os._exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    answers = ask("import h5py", "import pydicom", "import xlsxwriter", "import platformdirs")
    assert answers["import h5py"].problem == "crashes (SIGSEGV)"
    assert answers["import pydicom"].problem == "SystemExit: no licence"
    assert answers["import xlsxwriter"].problem.startswith("ends with exit code 3")
    assert not answers["import platformdirs"].problem
    found = {extra.name: extra for extra in checks.extras(answers)}
    assert found["hdf5"].status == "damaged" and "crashes" in found["hdf5"].found
    failed = {check.name: check for check in checks._extra_checks(answers)}
    assert failed["extra hdf5"].status == "failed" and "'h5py'" in failed["extra hdf5"].advice


def test_an_extra_that_is_missing_is_no_failure_and_an_old_one_a_warning(monkeypatch):
    def version(name):
        if name == "h5py":
            raise packages.PackageNotFoundError
        return "4.9.1rc2+cpu" if name == "transformers" else "999"

    monkeypatch.setattr(packages, "version", version)
    found = {extra.name: extra for extra in checks.extras({})}
    assert found["hdf5"].status == "missing" and "h5py" in found["hdf5"].found
    assert found["hf"].status == "old" and "needs transformers>=5" in found["hf"].found
    assert {check.name: check.status for check in checks._extra_checks({})} == {"extra hf": "warning"}


def test_places_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "Questions", Working)
    (tmp_path / "notes.txt").write_text("hello")
    monkeypatch.setenv("OPENJEPA_CACHE", str(tmp_path / "notes.txt" / "cache"))
    monkeypatch.setattr(checks, "_temporary_folder", lambda: tmp_path / "notes.txt")
    with pytest.raises(CheckFailed, match=r"cache failed: set OPENJEPA_CACHE.*temporary files failed: set TMPDIR"):
        openjepa.doctor(json=True)
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"] and check_of(found, "cache")["status"] == "failed"
    assert "notes.txt" in check_of(found, "cache")["found"]


def test_no_home(monkeypatch):
    def nobody(*_, **__):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("OPENJEPA_CACHE", raising=False)
    monkeypatch.setattr("openjepa.files.writing.user_cache_path", nobody)
    monkeypatch.setattr(Path, "home", nobody)
    check = status_of("cache")
    assert check.status == "failed" and "no home folder" in check.found and "OPENJEPA_CACHE" in check.advice
    assert without_names("/data/x") == "/data/x" and report.facts()["cache"].startswith("there is no home folder")


def test_variables_that_are_wrong(monkeypatch):
    assert status_of("variables").status == "ok"
    monkeypatch.setenv("OPENJEPA_MAX_PIXELS", "many")
    assert status_of("variables") == (
        *("variables", "failed", "OPENJEPA_MAX_PIXELS=many is not possible"),
        "give a whole number above 0, or unset it",
    )
    monkeypatch.setenv("OPENJEPA_CASH", "/x")
    check = status_of("variables")
    assert (
        check.status == "warning" and "OPENJEPA_CASH" in check.found and "did you mean OPENJEPA_CACHE?" in check.found
    )


def test_little_room_and_few_files(monkeypatch):
    monkeypatch.setattr(checks, "free_space", lambda: {"cache": 2**40, "temporary": 2**40, "shared memory": 2**26})
    assert [(check.name, check.status) for check in checks._space()] == [("space, shared memory", "warning")]
    monkeypatch.setattr(checks.resource, "getrlimit", lambda _: (64, 64))
    assert "ulimit" in status_of("open files").advice


def test_a_driver_without_a_gpu(monkeypatch):
    cpu = Answer([{"name": "cpu"}])
    monkeypatch.setattr(checks, "nvidia_driver", lambda: "")
    assert list(checks._gpu(cpu)) == []
    monkeypatch.setattr(checks, "nvidia_driver", lambda: "580.1")
    assert [check.status for check in checks._gpu(cpu)] == ["warning"]
    assert list(checks._gpu(Answer([{"name": "cuda:0"}, {"name": "cpu"}]))) == []


def test_names_and_secrets_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/alice"))
    monkeypatch.setenv("USER", "alice")
    assert without_names("/home/alice/runs, /home/alice") == "~/runs, ~"
    assert without_names("/home/alicette/x /scratch/alice/x") == "/home/alicette/x /scratch/USER/x"
    given = {"HTTPS_PROXY": "http://a:b@c", "OPENJEPA_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "y", "EDITOR": "vi"}
    given |= {"TORCH_HOME": "/home/alice/torch", "https_proxy": "http://a:b@c"}
    proxies = {"HTTPS_PROXY": "set", "https_proxy": "set"}
    assert variables(given) == proxies | {"OPENJEPA_TOKEN": "set", "TORCH_HOME": "~/torch"}
    assert getpass.getuser() == "root" or getpass.getuser() not in without_names(f"/x/{getpass.getuser()}/y")


def test_the_packages_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert list(packages.REQUIRED.modules) == project["dependencies"]
    extras = {name: [each for each in needs if "[" not in each] for name, needs in named(project).items()}
    assert {extra.name: list(extra.modules) for extra in packages.EXTRAS} == extras
    assert all(extra.help for extra in packages.EXTRAS)


def named(project: dict) -> dict[str, list[str]]:
    return project["optional-dependencies"]


def test_it_starts_without_pytorch():
    code = "import sys; from openjepa import cli\nsys.argv[1:] = ['doctor', '--help']\n"
    code += "try: cli.main()\nexcept SystemExit: pass\n"
    code += "import openjepa.installation.report\n"
    code += "assert not {'torch', 'numpy', 'PIL', 'pyarrow', 'matplotlib'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "--json" in done.stdout, done.stderr


def test_lines_for_people(capsys, monkeypatch):
    monkeypatch.setattr(report, "Questions", Working)
    monkeypatch.setenv("OPENJEPA_CASH", "/x")
    assert openjepa.doctor()["ok"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "no check failed" and any(line.startswith("  ok       cache: ") for line in lines)
    assert any(line.startswith("  warning  variables: ") and line.endswith(": unset OPENJEPA_CASH") for line in lines)
    assert any(line.startswith("  hdf5  ") and "images in HDF5 files" in line for line in lines)
    assert lines[0].startswith("openjepa        ") and "PyTorch build   9.9, CUDA none" in lines
    assert "device cpu      1.0 GiB, precision float32" in lines


def test_a_required_package_that_is_damaged(monkeypatch):
    check = checks._required({"import yaml": Answer(problem="ImportError: x")})
    assert check[1:] == (
        *("failed", "import yaml: ImportError: x"),
        "pip install --upgrade --force-reinstall 'pyyaml'",
    )
