"""python -m openjepa."""

from openjepa.cli import main

main()
