"""The comparison of transformer and LSTM: what it fits, and what it makes of figures."""

from __future__ import annotations

from benchmarks import transformer
from benchmarks.transformer import GRID, LSTM, TRANSFORMER, Fit, Row
from recserve.evaluation import Interval


def test_settings_that_are_tried_are_parameters() -> None:
    from recserve_bert_lstm.parameters import BertLstmParams
    from recserve_transformer.parameters import TransformerParams

    for model, params in ((LSTM, BertLstmParams), (TRANSFORMER, TransformerParams)):
        assert GRID[model][0] == {}
        for settings in GRID[model]:
            assert params.model_validate({**settings, "epochs": 3}).epochs == 3


def test_a_row_says_what_was_gained_and_what_it_cost() -> None:
    fits = [Fit([0.5, 0.0], 10.0, 2.0, 0.25, (7, 30)), Fit([0.25, 0.25], 14.0, 4.0, 0.75, (9, 30))]
    figure, gain = Interval(0.25, 0.1, 0.4), Interval(-0.01, -0.02, 0.005)
    table = transformer.markdown(
        "toys", [Row(LSTM, 1, {}, figure, None, fits), Row(TRANSFORMER, 4, {"blocks": 1}, figure, gain, fits)]
    )
    first, second = table.splitlines()[4:]
    assert first == (
        "| bert_lstm | 1x | defaults | 0.2500 (0.1000 to 0.4000) | - | 7, 9 of 30 | 12 | 3.00 | 0.50 |"
    )
    assert "| transformer | 4x | blocks 1 |" in second
    assert "-0.0100 (-0.0200 to +0.0050)" in second
