"""Statistics of experiments, as pure functions of NumPy arrays, which hold at every look."""
