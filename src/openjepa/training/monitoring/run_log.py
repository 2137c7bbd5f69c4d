"""Write the record of a run: metrics.jsonl, and the same numbers for TensorBoard.

Apart from the reader, because TensorBoard takes a while to import, which commands that only read need not wait for.
"""

import json
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from openjepa.console import log
from openjepa.files import write_text
from openjepa.training.monitoring.metrics_log import LOG, read_metrics


class RunLog:
    """Appends records; opened for a run that resumes after `step`, it first forgets what was logged later."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.path = folder / LOG
        kept = [record for record in read_metrics(folder) if record["step"] <= step and step]
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        self.writer = _curves(folder / "tensorboard", step)

    def add(self, record: dict) -> None:
        """Log a record with a `step`; its numbers become TensorBoard curves, its words only lines of the file."""
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        for name, value in record.items():
            if self.writer and isinstance(value, int | float) and name != "step":
                self.writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        if self.writer:
            self.writer.close()


def _curves(folder: Path, step: int) -> SummaryWriter | None:
    """A writer of TensorBoard's files; None where the folder has a name that TensorBoard cannot take."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        log(f"no TensorBoard files: {folder} is no name in UTF-8; metrics.jsonl has the same numbers")
        return None
    return SummaryWriter(folder, purge_step=step + 1 if step else None)
