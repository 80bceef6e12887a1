"""What every HTTP request passes: authentication, limits, errors, metrics."""
