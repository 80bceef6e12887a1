"""Cost of a model: CPU time an answer, and bytes that a bundle keeps of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recserve.errors import RecserveError
from recserve.plugin.protocols import Trainable

logger = logging.getLogger(__name__)

_MEGABYTE = 1e6


@dataclass(frozen=True)
class Cost:
    """What a model costs beside its fit.

    The figures differ from run to run: nothing that is compared for equality may hold them.

    Attributes:
        answer_ms: CPU milliseconds a query, all threads of the process together, in batches; NaN where it was
            not measured.
        stored_bytes: Bytes of the files that a bundle keeps of the model's own components; NaN likewise.
    """

    answer_ms: float = math.nan
    stored_bytes: float = math.nan

    @property
    def megabytes(self) -> float:
        """Megabytes (10^6 bytes) of the files."""
        return self.stored_bytes / _MEGABYTE

    def to_json(self) -> dict[str, Any]:
        """A JSON object; null for what was not measured."""
        return {
            "answer_cpu_ms": None if math.isnan(self.answer_ms) else round(self.answer_ms, 6),
            "stored_bytes": None if math.isnan(self.stored_bytes) else int(self.stored_bytes),
        }


def stored_bytes(components: Iterable[object]) -> float:
    """Bytes of the files that fitted components are saved as.

    Each is saved into a folder of its own that is removed at once. Those that learn nothing keep nothing.
    What all components of a bundle share counts for none of them: the catalogue with its text vectors, and a
    trained text encoder.

    Args:
        components: Stage objects; the same object counts once.

    Returns:
        The sum; NaN, with a warning in the log, where one of them cannot be saved here.
    """
    total = 0
    for component in {id(component): component for component in components}.values():
        if not isinstance(component, Trainable):
            continue
        with TemporaryDirectory(prefix="recserve-size-") as folder:
            try:
                component.save(Path(folder))
            except (OSError, NotImplementedError, RecserveError) as error:
                logger.warning(
                    "the size of %s on disk is not measured: %s", type(component).__qualname__, error
                )
                return math.nan
            total += sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return float(total)
