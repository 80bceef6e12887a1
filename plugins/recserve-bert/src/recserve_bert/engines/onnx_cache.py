"""Disk cache of 8-bit models.

Each has a folder of its own: the graph, the tokenizer, the full model's vectors of the probes, and a report
with checksums and what was measured. All are plain data (protobuf, JSON, npy without objects). A folder that
is damaged or incomplete is made again.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve_bert.engines.probes import PROBES, Verdict
from recserve_bert.sources import Source

logger = logging.getLogger(__name__)

RECIPE = "int8-rows-smooth-1"
"""Names how models are made 8-bit; a change that changes vectors has to change it."""

REPORT = "report.json"
_MODEL, _TOKENIZER, _FULL = "model.onnx", "tokenizer.json", "probes.npy"


def fingerprint(source: Source) -> str:
    """sha256 over the full model's fingerprint and the recipe, hexadecimal.

    The versions of ONNX Runtime and torch do not count, as torch's does not for the full model: they
    move vectors by rounding only, and every load is judged.
    """
    facts = {"format": 1, "engine": "onnx", "source": source.fingerprint, "recipe": RECIPE}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """A cached 8-bit model.

    Attributes:
        model: The graph.
        tokenizer: JSON of the package ``tokenizers``.
        padding: Id of the padding token.
        full: The full model's unit vectors of the probes, float32, shape (probes, d).
    """

    model: bytes
    tokenizer: str
    padding: int
    full: NDArray[np.float32]


class Folder:
    """Cache folder of one model's 8-bit form.

    Args:
        source: The full model.
        cache: Folder of all; None for ``$XDG_CACHE_HOME/recserve/encoders``.
    """

    def __init__(self, source: Source, cache: Path | None) -> None:
        if cache is None:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
            cache = Path(base, "recserve", "encoders")
        self._source = source
        self.path = cache.expanduser() / fingerprint(source)[:40]

    def found_good(self) -> bool:
        """Whether a model is kept that was found good; only its report is read."""
        try:
            return Verdict(**self._report()["verdict"]).good
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def read(self) -> Kept | None:
        """What is kept; None if there is nothing, or something else than was written."""
        if not self.path.is_dir():
            return None
        try:
            report = self._report()
            contents = {name: (self.path / name).read_bytes() for name in (_MODEL, _TOKENIZER, _FULL)}
            if {name: _sha256(content) for name, content in contents.items()} != report["files"]:
                raise ValueError("a file differs from what was written")
            full = np.load(io.BytesIO(contents[_FULL]), allow_pickle=False)
            if full.shape != (len(PROBES), self._source.dimension):
                raise ValueError("it was made for other probes")
            return Kept(contents[_MODEL], contents[_TOKENIZER].decode(), int(report["padding"]), full)
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("the 8-bit text encoder in %s is made again: %s", self.path, error)
            return None

    def write(self, kept: Kept, verdict: Verdict) -> None:
        """Keep a model; where that cannot be, it is made again the next time."""
        vectors = io.BytesIO()
        np.save(vectors, kept.full, allow_pickle=False)
        contents = {_MODEL: kept.model, _TOKENIZER: kept.tokenizer.encode(), _FULL: vectors.getvalue()}
        report = {
            "model": self._source.name,
            "source": self._source.fingerprint,
            "recipe": RECIPE,
            "padding": kept.padding,
            "verdict": asdict(verdict),
            "files": {name: _sha256(content) for name, content in contents.items()},
        }
        contents[REPORT] = (json.dumps(report, indent=1) + "\n").encode()
        try:
            self._put(contents)
        except OSError as error:
            logger.warning("the 8-bit text encoder cannot be kept in %s: %s", self.path, error)

    def _put(self, contents: dict[str, bytes]) -> None:
        """All files or none; another process may have been quicker."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".making-") as scratch:
            made = Path(scratch, "made")
            made.mkdir()
            for name, content in contents.items():
                (made / name).write_bytes(content)
            if self.path.is_dir() and self.read() is None:
                shutil.rmtree(self.path)
            try:
                made.replace(self.path)
            except OSError:
                if not self.path.is_dir():
                    raise

    def _report(self) -> Any:
        return json.loads((self.path / REPORT).read_text(encoding="utf-8"))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
