"""Hostile images and sets before every command that reads them, annotations, and options."""

import inspect
import os
import shlex
from typing import Any

from attack_containers import CONTAINERS
from attack_files import Forge, hostile_image, images, lying_json, lying_text, png, small_image
from attack_harmless import BOTH, COMPARED, RUN

USUAL = ["--workers", "0", "--device", "cpu"]
BOX = ["--box", "0", "0", "9", "9"]
PAGES = ["--out", "a.html", "--json", "a.json", "--csv", "a.csv"]


def read_data(forge: Forge, data: str) -> list[str]:
    """A command that reads DATA. The dear ones are rare."""
    any_way = ["--max-skipped", forge.dice.choice(["1", "1", "0.5", "0.01"])]
    head, detector, artifact = (str(forge.harmless / name) for name in ("head", "detector", "artifact"))
    processes = "2" if (forge.harmless / "study").exists() else "0"  # a light selection waits for no processes
    cheap = [
        ["embed", "pixels", data, "--out", "a.parquet", *USUAL, *any_way],
        ["data", "check", data, "--out", "a.html", "--workers", "0"],
        ["data", "prepare", data, "small", "--size", forge.dice.choice(["8", "64"]), "--workers", "0", *any_way],
        ["predict", head, data, "--out", "a.csv", *USUAL, *any_way],
        ["embed", str(forge.harmless / "artifact"), data, "--out", "a.parquet", *USUAL, *any_way],
        ["anomaly", "score", detector, data, "--out", "a.csv", "--page", "a.html", *USUAL, *any_way],
    ]
    dear = [
        ["evaluate", "pixels", data, *USUAL, *any_way, "--csv", "a.csv", "--page", "a.html", "--json", "a.json"],
        ["data", "check", data, "--test", str(forge.harmless / "classes"), "--workers", "0"],
        ["pretrain", data, "--out", "new", *RUN[:-1], "1", *any_way],
        ["evaluate", "pixels", str(forge.harmless / "classes"), "--test", data, *USUAL, *any_way],
        ["embed", "pixels", data, "--out", "a.parquet", "--workers", processes, "--device", "cpu", *any_way],
        ["anomaly", "fit", artifact, data, "--out", "new", *USUAL, *any_way],
        ["anomaly", "evaluate", detector, data, "--normal", "a", *USUAL, *any_way],
        ["imagine", artifact, str(forge.harmless / "classes/a/0.png"), *BOX, "--from", data, *PAGES, *USUAL],
        ["finetune", artifact, data, "--out", "new", "--epochs", "1", "--time", "1s", *USUAL, *any_way],
    ]
    if (forge.harmless / "index").exists():
        cheap.append(["index", artifact, data, "--out", "new", *USUAL, *any_way])
    return forge.dice.choice(dear) if forge.chance(8) else forge.dice.choice(cheap)


def picture(forge: Forge) -> tuple[str, list[str]]:
    """One hostile image among harmless ones, or as the only one."""
    name, suffix, data = hostile_image(forge)
    path = forge.file(f"set/a/x{suffix}", data)
    if forge.chance(10):
        masks = ["masks", "--image", path, "--out", "m.png"]
        if not (forge.harmless / "index").exists() or forge.chance(2):
            return f"image {name}", masks
        imagine = ["imagine", str(forge.harmless / "artifact"), path, *BOX, *PAGES, *USUAL]
        search = ["search", forge.copy("index"), path, "--html", "a.html", *USUAL]
        return f"image {name}", forge.dice.choice([imagine, search])
    if not forge.chance(5):
        for harmless, content in images(forge):
            forge.file(f"set/{harmless}", content)
    words = read_data(forge, str(forge.folder / "set"))
    if "TIFF" in name and words[0] == "pretrain":
        words += ["--pages", "images"]
    return f"image {name}", words


def container(forge: Forge) -> tuple[str, list[str]]:
    """A hostile set of images."""
    kind = forge.dice.choice([*CONTAINERS, "tar", "Arrow", "Parquet"])
    data = CONTAINERS[kind](forge)
    if forge.chance(12):
        data += forge.dice.choice(["/a", "/images", "/../../guard", "/\x1b[31m", "/", "/[/red]", "//", "/*"])
    if forge.chance(25):
        data = os.path.join(os.path.dirname(data), forge.dice.choice(["*", "**", "*.{png,jpg}", "[", "?" * 300]))
    return kind, read_data(forge, data)


# --- annotations ---------------------------------------------------------------------------------------------------

COCO = b"""{"images": [%s], "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]},
{"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}], "categories": [{"id": 1, "name": "cell"}]}"""
VOC = b"""<annotation><filename>%s</filename><object><name>cell</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax>
<ymax>9</ymax></bndbox></object></annotation>"""
ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
LAUGHS = f'<!DOCTYPE x [<!ENTITY e0 "ha">{ENTITIES}]><annotation>&e11;</annotation>'.encode()


def annotations(forge: Forge) -> tuple[str, list[str]]:
    """Annotations of objects beside harmless images, or depth maps and masks."""
    data = forge.harmless / "classes"
    names = sorted(str(path.relative_to(data)) for path in data.rglob("*.png"))
    kind = forge.dice.choice(["COCO", "VOC", "CLEVR", "CSV", "depths", "masks"])
    if kind in ("depths", "masks"):
        for name in names:
            forge.file(
                f"maps/{name}",
                hostile_image(forge)[2] if forge.chance(4) else png(small_image(forge, (20, 20)).convert("L")),
            )
        more = ["--tasks", {"depths": "depth", "masks": "segment"}[kind], f"--{kind}", str(forge.folder / "maps")]
    else:
        more = [
            "--tasks",
            forge.dice.choice(["count", "count,distance"]),
            "--annotations",
            _annotated(forge, kind, names),
        ]
    return f"annotations {kind}", ["evaluate", "pixels", str(data), *more, *USUAL, "--csv", "a.csv"]


def _annotated(forge: Forge, kind: str, names: list[str]) -> str:
    if kind == "COCO":
        listed = ", ".join(f'{{"id": {n}, "file_name": "{name}"}}' for n, name in enumerate(names)).encode()
        return forge.file("coco.json", lying_json(forge, COCO % listed))
    if kind == "CLEVR":
        thing = '{"pixel_coords": [1, 2, 3.5], "shape": "cube"}'
        scenes = ", ".join(f'{{"image_filename": "{name}", "objects": [{thing}]}}' for name in names)
        return forge.file("clevr.json", lying_json(forge, f'{{"scenes": [{scenes}]}}'.encode()))
    if kind == "CSV":
        text = "image,xmin,ymin,xmax,ymax,class\n" + "".join(f"{name},1,2,9,9,cell\n" for name in names)
        return forge.file("boxes.csv", lying_text(forge, text.encode()))
    for name in names:
        content = VOC % name.encode()
        if forge.chance(6):
            content = forge.dice.choice([LAUGHS, b"<a>" * 100_000, _entity(forge), lying_text(forge, content)])
        forge.file(f"voc/{name.replace('.png', '.xml')}", content)
    return str(forge.folder / "voc")


def _entity(forge: Forge) -> bytes:
    """XML that asks for a local file and for an address."""
    wanted = forge.dice.choice([f"file://{forge.guard}/secret.txt", forge.url + "/x.dtd"])
    return f'<!DOCTYPE a [<!ENTITY x SYSTEM "{wanted}">]><annotation><object>&x;</object></annotation>'.encode()


# --- options -------------------------------------------------------------------------------------------------------

NUMBERS = ["0", "-1", "nan", "inf", "1e999", "-0.0", "1000000000", "10**9", "1" * 400, "0.5", "1_0", " 1", "1,2"]
NUMBERS += ["100000", "1000000000000", "4294967296"]
WORDS = ["", " ", "x" * 300, "x" * 100_000, "\x1b[31m", "[/red]", "=1", "../x", ".", "nothing", "a\nb", "\udcff"]
LARGE = ("1000000000", "100000", "1000000000000", "4294967296")
LONG = {"time", "epochs", "steps", "budget", "seconds"}  # a large value of these means a long run


def lines(forge: Forge) -> dict[str, list[str]]:
    """A harmless line of each command."""
    names = ("classes", "head", "artifact", "detector")
    data, head, artifact, detector = (str(forge.harmless / name) for name in names)
    index = forge.copy("index")  # empty in a light selection
    indexed = {
        "index": [artifact, data, "--out", "new", *USUAL],
        "search": [index, "a/0.png", *USUAL],
        "curate duplicates": [index],
        "curate outliers": [index],
        "curate clusters": [index],
        "curate sample": [index],
        "curate labels": [index, forge.file("labels.csv", b"path,kind\na/0.png,x\nb/1.png,y\n")],
        "compare": [data, "--out", "new", *COMPARED],
        "ensemble": [artifact, "--how", "concat", *BOTH, "--out", "new", *USUAL],
    }
    more = indexed if os.path.isdir(index) else {}
    return more | {
        "embed": ["pixels", data, "--out", "a.parquet", *USUAL],
        "evaluate": ["pixels", data, *USUAL],
        "predict": [head, data, "--out", "a.csv", *USUAL],
        "pretrain": [data, "--out", "new", *RUN[:-1], "1"],
        "finetune": [artifact, data, "--out", "new", "--time", "1s", *USUAL],
        "report": [forge.copy("run") if forge.chance(8) else head, "--data", data],
        "masks": ["--out", "m.png"],
        "recipes": ["laptop"],
        "bench": [data, "--seconds", "0.01", *RUN[:12]],
        "import": [artifact, "new"],
        "export": [artifact, "--to", "safetensors", "--out", "out"],
        "anomaly fit": [artifact, data, "--out", "new", *USUAL],
        "anomaly score": [detector, data, "--out", "a.csv", *USUAL],
        "anomaly evaluate": [detector, data, "--normal", "a", *USUAL],
        "imagine": [artifact, f"{data}/a/0.png", *BOX, "--from", data, *PAGES, *USUAL],
        "runs": [str(forge.harmless)],
        "data check": [data, "--workers", "0"],
        "data prepare": [data, "small", "--workers", "0"],
    }


FLAGS = ("flip", "onnx", "regression", "yes")  # which take no value
OFTEN = [
    "embed",
    "evaluate",
    "predict",
    "pretrain",
    "finetune",
    "masks",
    "import",
    "export",
    "data check",
    "data prepare",
]


def options(forge: Forge) -> tuple[str, list[str]]:
    """One to three options of a command with values that make no sense, and sometimes a positional one."""
    from openjepa.commands import COMMANDS

    known = lines(forge)
    name = forge.dice.choice([*known, *OFTEN, *OFTEN])
    command = next(each for each in COMMANDS if each.name == name)
    words = [*name.split(), *known[name]]
    if forge.chance(6):
        place = len(name.split()) + forge.dice.randrange(2)
        words[min(place, len(words) - 1)] = _value(forge, False)
    able = _options(command.load())
    for option in forge.dice.sample(able, min(len(able), forge.dice.choice([1, 1, 1, 2, 3]))):
        flag = "--" + option.replace("_", "-")
        words = _without(words, flag)
        words.append(f"{flag}={_value(forge, option in LONG)}")
    return f"options of {name}", words


def _options(function: Any) -> list[str]:
    """The options of a command's function, those that stand for settings among them."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            found += list(parameter.annotation.__metadata__[0].names)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            found.append(parameter.name)
    return [name for name in found if name not in ("half", "with_predictor", "resume", *FLAGS)]


def _without(words: list[str], flag: str) -> list[str]:
    place = words.index(flag) if flag in words else None
    return words if place is None else words[:place] + words[place + 2 :]


def _value(forge: Forge, is_length: bool) -> str:
    numbers = [number for number in NUMBERS if not is_length or number not in LARGE]
    paths = [forge.copy("classes"), forge.file("note.txt", b"kept\n")]
    return forge.dice.choice(
        [*numbers, *numbers, *WORDS, *paths, "/dev/zero", "/dev/full", "/dev/null", "laptop", "auto"]
    )


def shown(words: list[str]) -> str:
    """A command line to copy, with long words cut."""
    return shlex.join(word if len(word) < 200 else word[:90] + "..." + word[-90:] for word in words)
