"""Training of text encoders on behaviour: which weights are trained, on what, and how they are kept."""
