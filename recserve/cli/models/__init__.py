"""Commands that train, tune, evaluate, promote and show models."""
