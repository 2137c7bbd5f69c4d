"""docs/collections.md: its commands and its Python run, and do what the page says."""

import re
import shlex
import shutil
from pathlib import Path

from PIL import Image
from support.photos import draw_photos

from openjepa import cli
from openjepa.indexing.curation import duplicates

PAGE = Path(__file__).parents[1] / "docs" / "collections.md"


def test_the_commands_and_the_python_of_the_page_run(tmp_path, monkeypatch, capsys):
    photos = draw_photos(tmp_path / "photos", 24, side=24)
    monkeypatch.chdir(tmp_path)
    for name, few in (("ORIENTATIONS", 1), ("WINDOWS", ())):  # what is found is tested elsewhere
        monkeypatch.setattr(duplicates, name, few)
    Path("labels.csv").write_text("path,kind\ncat/000.jpg,a\ndog/001.jpg,b\n")
    rows = "".join(f"{path.relative_to(photos)},{path.parent.name}\n" for path in sorted(photos.rglob("*.jpg"))[::3])
    Path("some-labels.csv").write_text("path,kind\n" + rows)
    monkeypatch.setattr("openjepa.exploring.serving.Server.run", lambda _: None)  # it ends with Ctrl-C
    for name in ("holiday", "a", "b", "c"):
        shutil.copy(photos / "cat" / "004.jpg", f"{name}.jpg")
    with Image.open("a.jpg") as image:
        image.resize((200, 150)).save("street.jpg")
    text = PAGE.read_text()
    words = [line.split("  #")[0] for line in re.findall(r"^openjepa .*$", text, re.MULTILINE)]
    assert len(words) > 12
    for line in words:
        given = shlex.split(line.replace("runs/photos", "untrained:vit_nano_patch8_32"), comments=True)[1:]
        given += ["--workers", "0"] if given[0] in ("index", "search") else []
        assert cli.status_of(given) == 0, (line, capsys.readouterr().err)
    capsys.readouterr()
    names: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(compile(block, "collections.md", "exec"), names)
    assert len(names["first"]) == 10 and len(names["spread"]) == len(names["index"])
    assert Path("found.html").is_file() and Path("copies.csv").is_file()
