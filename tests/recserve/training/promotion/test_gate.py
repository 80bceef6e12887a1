from __future__ import annotations

import pytest

from recserve.training.promotion.gate import Finding, GateError, pass_gate


def test_the_gate_names_all_that_speaks_against_a_bundle() -> None:
    findings = [
        Finding("a", "CTR 3%", {}, "which is less"),
        Finding("b", "CTR 5%", {}),
        Finding("c", "late", {}, "which is more"),
    ]
    with pytest.raises(GateError) as refused:
        pass_gate(findings)
    assert refused.value.message == (
        "refused: CTR 3%, which is less; late, which is more; promote it anyway with --force --reason TEXT"
    )
    pass_gate([findings[1]])
