"""recserve beside other recommenders on one catalogue: see ``python -m benchmarks.compared --help``."""
