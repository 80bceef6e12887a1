"""Fixed texts (``probes.json``) that an 8-bit model is calibrated and judged with, and the judging."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LEAST_COSINE = 0.98
LEAST_OVERLAP = 0.9
_NEIGHBOURS = 10

_TEXTS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
# What calibrates must not judge: these only show how large activations get.
CALIBRATION = tuple(_TEXTS["calibration"])
PROBES = (
    *_TEXTS["short"],
    *_TEXTS["chinese"],
    *_TEXTS["long"],
    *((text + " ") * 5 for text in _TEXTS["long"]),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How close vectors are to those of the full model, over the probes.

    Attributes:
        cosine_min: Of the text that differs most.
        cosine_mean: Over all texts.
        overlap: Share of each text's ten nearest neighbours that stay among them, the mean over texts.
    """

    cosine_min: float
    cosine_mean: float
    overlap: float

    @property
    def good(self) -> bool:
        """Whether the vectors may be used."""
        return self.cosine_min >= LEAST_COSINE and self.overlap >= LEAST_OVERLAP

    def __str__(self) -> str:
        return (
            f"cosine at least {self.cosine_min:.4f} (needed {LEAST_COSINE}), mean {self.cosine_mean:.4f}; "
            f"{self.overlap:.1%} of the ten nearest neighbours stay (needed {LEAST_OVERLAP:.0%})"
        )


def judge(vectors: NDArray[np.float32], full: NDArray[np.float32]) -> Verdict:
    """Compare unit vectors of the same texts.

    Args:
        vectors: Of the model to judge, shape (n, d).
        full: Of the full model, shape (n, d).
    """
    cosines = np.nan_to_num((vectors * full).sum(axis=1), nan=-1.0)
    shared = [len(set(ours) & set(theirs)) for ours, theirs in zip(_near(vectors), _near(full), strict=True)]
    overlap = float(np.mean(shared)) / min(_NEIGHBOURS, max(len(full) - 1, 1))
    return Verdict(float(cosines.min()), float(cosines.mean()), overlap)


def _near(vectors: NDArray[np.float32]) -> list[list[int]]:
    """The ten nearest others of each row."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    near: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[
        :, : min(_NEIGHBOURS, len(vectors) - 1)
    ].tolist()
    return near
