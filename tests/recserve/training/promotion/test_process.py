"""Evidence that another process gathers."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve.config import Config
from recserve.store import open_store
from recserve.training.promotion.gate import NotMeasuredError
from recserve.training.promotion.process import ComparisonProcess
from tests.support.bundles import promoted, write_bundle


@pytest.mark.slow
def test_findings_come_back(tmp_path: Path) -> None:
    with open_store(None, tmp_path) as store:
        first = write_bundle(tmp_path, store, seed=1, ndcg=0.1)
        second = write_bundle(tmp_path, store, seed=2, ndcg=0.05)
        other = write_bundle(tmp_path, store, seed=3, data="other")
        promoted(store, [first])
    comparing = ComparisonProcess(Config(), tmp_path)
    try:
        (finding,) = comparing.findings(first, second)
        assert (finding.source, finding.favours) == ("offline", False)
        assert "more than the margin" in str(finding.objection)
        with pytest.raises(NotMeasuredError, match="not measured on the same data"):
            comparing.findings(first, other)
        measured = comparing.difference(first, second)
        assert measured is not None
        assert measured["difference"]["value"] == pytest.approx(-0.05)
        assert comparing.difference(first, other) is None
    finally:
        comparing.close()
