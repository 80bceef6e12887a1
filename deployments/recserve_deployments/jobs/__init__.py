"""Work of the library on Ray: parts of fits, of encoding and of evaluation, and training loops of torch."""
