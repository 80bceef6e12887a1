"""The ranker ``deepfm``: a feature set, and a DeepFM over it that learns from candidates."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from recserve import (
    Candidates,
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    FloatArray,
    Queries,
    RankingExamples,
    read_array,
)
from recserve_features.deepfm.encoding import Encoding
from recserve_features.deepfm.network import Network, Shape
from recserve_features.learning.feature_ranker import FeatureRanker
from recserve_features.parameters import DeepFmParams

_NETWORK = "network.npy"


class DeepFm(FeatureRanker):
    """Orders candidates by a DeepFM over features; see :mod:`recserve_features.deepfm.network`.

    It learns by torch, on the CPU, and scores without. Until it has learnt, retrieval's order stays; where no
    network was better than the order that learning started from, that order stays.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    name: ClassVar[str] = "deepfm"

    def __init__(self, params: DeepFmParams, catalogue: Catalogue) -> None:
        super().__init__(params, catalogue)
        self._params = params
        self._encoding = Encoding([])
        self._network: Network | None = None

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Count features on all events; the network is the one that was learnt from candidates before.

        Returns:
            ``features``: their names; ``network``: which one it is, where it was learnt before.

        Raises:
            ConfigError: torch is not installed.
        """
        for needed in ("torch", "recserve_torch"):
            if find_spec(needed) is None:
                raise ConfigError(
                    "the ranker deepfm learns by torch, which is not installed; "
                    "pip install 'recserve-features[deepfm]', or use lambdamart"
                )
        facts = self._count(data, context)
        previous = context.previous or {}
        self._network = None
        if "network" in previous:
            flat = np.frombuffer(base64.b64decode(previous["network"]), dtype="<f4")
            self._use(previous, flat)
            # The weights are in a file of the component's own; a manifest says which they are.
            facts["network"] = f"sha256:{hashlib.sha256(flat.tobytes()).hexdigest()}"
        return facts

    def fit_candidates(self, examples: RankingExamples, context: FitContext) -> Mapping[str, Any]:
        """Learn a network; see :class:`recserve.LearnsFromCandidates`.

        Returns:
            ``decisions``, ``anchor``, ``encoding``, ``sizes`` and ``network`` (float32, base64) for the final
            fit; ``epochs``; ``validation``: softmax loss and nDCG@10 by epochs on users held out;
            ``weights``: how many numbers the network has.

        Raises:
            DataError: Times order events, and a query is not newer than events that features were counted on.
        """
        from recserve_features.deepfm.training import learn

        chosen = self._examples(examples, context)
        self._network = None
        facts = self._decided()
        if chosen is None:
            return {**facts, **self._own(), "network": "", "epochs": 0}
        learnt = learn(
            chosen,
            self._params,
            context.seed,
            context.threads,
            validated=context.validated,
            progress=context.progress,
        )
        self._encoding, self._network = learnt.encoding, learnt.network
        flat = self._flat()
        return {
            **facts,
            **self._own(),
            "network": base64.b64encode(flat.astype("<f4").tobytes()).decode("ascii"),
            "epochs": learnt.epochs,
            "validation": learnt.validation,
            "weights": len(flat),
        }

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """Anchor plus network, float32, shape (B, K), -inf at pads; before any fit retrieval's scores."""
        real = candidates.items >= 0
        if self._network is None and self._anchor.scale == 0.0:
            return np.where(real, candidates.scores, np.float32(-np.inf)).astype(np.float32)
        scores = np.full(real.shape, -np.inf, dtype=np.float32)
        scores[real] = self._anchor.scores(candidates)[real]
        if self._network is not None and real.any():
            rows = self.features(queries, candidates)[real]
            scores[real] += self._network.scores(self._encoding.entries(rows))
        return scores

    def save(self, directory: Path) -> None:
        """Write declarations and encoding as JSON, and what was counted and learnt; nothing of any user."""
        self._write(directory, self._own())
        np.save(directory / _NETWORK, self._flat()[None], allow_pickle=False)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        flat = read_array(directory / _NETWORK, np.float32, (1, None))[0]
        self._read(directory, lambda facts: self._use(facts, flat))

    def _own(self) -> dict[str, Any]:
        """Encoding and sizes, JSON-like."""
        sizes = None
        if self._network is not None:
            sizes = {
                "width": self._network.shape.width,
                "hidden": list(self._network.shape.hidden),
            }
        return {"encoding": self._encoding.to_json(), "sizes": sizes}

    def _flat(self) -> FloatArray:
        """All numbers of the network, float32; none without one."""
        return np.empty(0, dtype=np.float32) if self._network is None else self._network.flat

    def _use(self, facts: Mapping[str, Any], flat: FloatArray) -> None:
        """Rank by these numbers; by the anchor alone if there are none."""
        encoding, sizes = Encoding.from_json(facts["encoding"]), facts["sizes"]
        network = None
        if sizes is not None:
            if len(encoding.fields) != len(self._inputs.names()):
                raise ValueError(
                    f"a network of {len(encoding.fields)} features does not fit {len(self._inputs.names())}"
                )
            shape = Shape(
                tuple(field.size for field in encoding.fields),
                int(sizes["width"]),
                tuple(int(units) for units in sizes["hidden"]),
            )
            network = Network(shape, flat)
        elif len(flat):
            raise ValueError("the network's sizes are missing")
        self._encoding, self._network = encoding, network
