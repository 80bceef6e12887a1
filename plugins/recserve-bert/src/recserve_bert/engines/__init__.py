"""What runs the model: torch, or ONNX Runtime with 8-bit weights."""
