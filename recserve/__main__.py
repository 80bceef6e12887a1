"""Entry point of ``python -m recserve``: the command line."""

from recserve.cli import main

main()
