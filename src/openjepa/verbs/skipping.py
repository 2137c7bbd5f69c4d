"""Images that cannot be used: listed, counted, and borne up to a share that the person sets."""

from pathlib import Path

from openjepa.data.storage import Skipped, is_lost
from openjepa.errors import UsageError

LISTED = "skipped.txt"


def write_skipped(file: Path, skipped: Skipped) -> None:
    """A line for each file, its path and the reason; no file where nothing was skipped."""
    text = "".join(f"{path}\t{reason}\n" for path, reason in sorted(set(skipped)))
    if text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def check_skipped(source: str, skipped: Skipped, usable: int, most: float, listed_in: str = "") -> None:
    """Raises UsageError if more than a share `most` of the images of a source is unusable; lists them in a file."""
    if not 0 <= most <= 1:
        raise UsageError(f"--max-skipped {most:g} is not possible: give a share from 0 to 1")
    lost = [(path, reason) for path, reason in skipped if is_lost(reason)]
    total = usable + len(lost)
    if len(lost) <= most * total:
        return
    if listed_in:
        write_skipped(Path(listed_in), skipped)
    named = "; ".join(f"{path}: {reason}" for path, reason in lost[:3]) + "; ..." * (len(lost) > 3)
    where = f"; all are listed in {listed_in}" if listed_in else ""
    raise UsageError(
        f"{len(lost):,} of {total:,} images of {source} cannot be used ({len(lost) / total:.1%}: {named}{where}), "
        f"more than --max-skipped {most:g} allows: mend them, leave them out, or give a larger share"
    )
