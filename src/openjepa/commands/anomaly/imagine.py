"""`openjepa imagine MODEL IMAGE --box X0 Y0 X1 Y1 --out FILE.html`: what a predictor expects in a hidden region."""

import json as json_format
import os
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from openjepa.anomaly.imagination import MOST_DRAWS, MOST_NEAREST
from openjepa.commands.arguments.options import Device, Overwrite, Precision, Step, Workers, Xlsx
from openjepa.console import counting, log, show_table
from openjepa.data.open import Given, as_source, names_of
from openjepa.data.storage.storage import files_in, skipped_lines
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.errors import UsageError
from openjepa.files import check_output, write_output
from openjepa.files.path_arguments import checks_paths
from openjepa.files.tables import write_lists
from openjepa.files.workbook import check_xlsx
from openjepa.indexing.expectation import COLUMNS, Expectation, expect
from openjepa.indexing.real_patches import open_patches, read_asked
from openjepa.indexing.regions import Boxed, in_pixels, window_of
from openjepa.reports.anomaly.imagine_page import imagine_page
from openjepa.runs.checkpoints import load_encoder_at
from openjepa.runs.detectors import open_energies
from openjepa.runs.images import count_workers

SUFFIXES = {"out": ".html", "json": ".json", "csv": ".csv"}
MOST_IMAGES = 100_000
WHOLE = 0.995  # the fraction of a box from which on it counts as seen


@checks_paths
def imagine(
    model: Annotated[str, Argument(help="A run, or an artifact with its predictor.", show_default=False)],
    image: Annotated[str, Argument(help="An image file.", show_default=False)],
    *,
    box: Annotated[
        tuple[float, float, float, float],
        Option(help="What to hide, in pixels of IMAGE.", metavar="X0 Y0 X1 Y1", show_default=False),
    ],
    out: Annotated[Path, Option(help="Page to write (.html).", show_default=False)],
    source: Annotated[
        Given | None,
        Option(
            "--from",
            help="Where to look for real patches: images, or an index with --patches; left out, in IMAGE itself.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[int, Option(help="Images of --from to look at, at most; of an index all.")] = 1000,
    draws: Annotated[int, Option(help=f"Contexts to predict from, 1 to {MOST_DRAWS}.")] = 4,
    top: Annotated[int, Option(help="Nearest real patches of each hidden one.")] = 5,
    seed: Annotated[int, Option(help="Of the contexts, the noise and the choice of images.")] = 0,
    json: Annotated[Path | None, Option(help="File to write all energies and nearest patches to as JSON.")] = None,
    csv: Annotated[Path | None, Option(help="File to write them to as a table.")] = None,
    xlsx: Xlsx = None,
    step: Step = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    overwrite: Overwrite = False,
) -> list[dict[str, Any]]:
    """Show what a model expects in a hidden box of an image.

    The patches in the box are hidden, and the predictor foretells their representations from the others. The page
    shows, for each of them, the real patches whose representations come nearest, and the energy of the true region
    beside that of other regions of the image, of the same region of other images, and of noise.

    X0 Y0 is the corner of the box at the left and top, X1 Y1 that at the right and bottom, in pixels of the upright
    image. A patch is hidden where at least half of it lies in the box along each side. One in eight patches of what the
    model sees must stay visible. The first draw predicts from all of these, each other one from that half which is
    nearest to a random patch.

    Returns a dict for each draw, hidden patch and content with the keys draw, patch, content, rank, energy, path,
    from_patch, x0, y0, x1, y1. Raises UsageError.
    """
    model, image = os.fspath(model), os.fspath(image)
    outputs = {"out": out, "json": json, "csv": csv, "xlsx": xlsx}
    real = None if source is None else as_source(source)
    for name, path in outputs.items():
        if path and name in SUFFIXES and Path(path).suffix != SUFFIXES[name]:
            raise UsageError(f"--{name} {path} is not possible: give a name that ends in {SUFFIXES[name]}")
    check_xlsx(xlsx)
    for path in filter(None, outputs.values()):
        check_output(Path(path), [model, image], overwrite, names_of(real))
    _check_numbers(top, images, seed)
    readers, where = count_workers(workers, device), choose_device(device)
    encoder = load_encoder_at(model, step, where, choose_precision(precision, where))
    energies = open_energies(model, step, encoder=encoder)
    asked = read_asked(image, energies)
    boxed = window_of(box, asked.shown.size, encoder.frame, energies.grid_size, image)
    patches = None if real is None else open_patches(real, energies, asked, images, seed, readers)
    with counting(f"comparing with {image if real is None else real}") as progress:
        found = expect(energies, asked, boxed.window, patches, draws, top, seed, progress)
    records = [*found.records()]
    _show(found, boxed)
    write_output(Path(out), imagine_page(found))
    if json:
        write_output(Path(json), json_format.dumps(records, indent=2) + "\n")
    cells = [["" if value is None else value for value in record.values()] for record in records]
    write_lists(csv, xlsx, COLUMNS, cells)
    log(*(f"{'page' if name == 'out' else name}: {path}" for name, path in outputs.items() if path))
    return records


def _check_numbers(top: int, images: int, seed: int) -> None:
    for name, value, least, most in (
        ("top", top, 1, MOST_NEAREST),
        ("images", images, 1, MOST_IMAGES),
        ("seed", seed, 0, 2**63 - 1),
    ):
        if not least <= value <= most:
            raise UsageError(f"--{name} {value} is not possible: give {least} to {most:,}")


def _show(found: Expectation, boxed: Boxed) -> None:
    """What was hidden, and the energies, for the terminal."""
    true = sum((contents := found.contents())[0].means) / len(found.imagined.hidden)
    rows = []
    for content in contents:
        mean = sum(content.means) / len(content.means)
        ratio = f"{mean / true:.2f}" if true > 0 else ""
        rows.append([content.name, f"{mean:.3f}", f"{min(content.means):.3f} to {max(content.means):.3f}", ratio])
    show_table(["in the box", "energy", "of the draws", "over the true one"], rows, right=True)
    log(*found.lines())
    if boxed.seen < WHOLE:
        log(f"the model sees {100 * boxed.seen:.0f} % of the box: it reads {in_pixels(boxed.frame)} of the image")
    if found.source and found.source.skipped:
        log(*skipped_lines(found.source.skipped), f"{counted(files_in(found.source.skipped), 'file')} skipped")
