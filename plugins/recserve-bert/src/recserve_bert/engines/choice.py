"""Choice of the engine that runs a model: torch or ONNX Runtime.

The choice shows in the fingerprint, because 8-bit vectors are not the vectors of the full model. So it
depends on nothing that changes by itself: ``torch`` and ``onnx`` are what they say everywhere, and
``auto`` follows what is installed, which has to be the same wherever one bundle is trained and served.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Literal

from recserve import ConfigError
from recserve_bert.parameters import BertParams
from recserve_bert.sources import Source

logger = logging.getLogger(__name__)

EngineName = Literal["torch", "onnx"]
"""What runs a model."""

_PACKAGES = ("onnxruntime", "onnx")
_EXTRA = "pip install 'recserve[onnx]'"


def choose_engine(params: BertParams, source: Source) -> EngineName:
    """Decide; ``auto`` makes and tries the 8-bit model unless that was done before.

    Raises:
        ConfigError: ``onnx`` is asked for and not installed, or asked for on a GPU.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if params.engine == "onnx":
        if missing:
            raise ConfigError(
                f"encoder.params.engine = 'onnx': {' and '.join(missing)} not installed; {_EXTRA}, or use "
                "'torch' (its vectors differ: train again then)",
                field="encoder.params.engine",
            )
        if params.device == "cuda":
            raise ConfigError(
                "encoder.params.engine = 'onnx' runs on the CPU; use engine 'torch' with device 'cuda'",
                field="encoder.params.engine",
            )
        return "onnx"
    if params.engine == "torch" or params.device == "cuda" or missing:
        return "torch"
    return _tried(params, source)


def engine_of_trained(params: BertParams, source: Source, wanted: EngineName) -> EngineName:
    """Engine of a model that has just been trained: the wanted one, or torch where 8 bits lose too much."""
    return "torch" if wanted == "torch" else _tried(params, source)


def _tried(params: BertParams, source: Source) -> EngineName:
    from recserve_bert.engines.onnx_cache import Folder
    from recserve_bert.engines.onnx_engine import OnnxEngine

    if Folder(source, params.cache).found_good():
        return "onnx"
    try:
        OnnxEngine(source, params.cache)
    except ConfigError as error:
        logger.warning("the text encoder stays with torch: %s", error.message)
        return "torch"
    return "onnx"
