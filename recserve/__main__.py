"""``python -m recserve`` is the command line."""

from recserve.cli import main

main()
