"""Pages are rendered from templates beside the caller: escaped, and refused where a name is missing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from recserve.evaluation.bootstrap import Interval
from recserve.evaluation.html.rendering import heading, number, render, signed, span


def test_a_template_extends_the_base_page_and_escapes_what_it_shows(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '{% extends "base.html" %}{% block main %}<p>{{ shown }} {{ value|number }}</p>{% endblock %}',
        encoding="utf-8",
    )
    text = render(page, title="<Title>", shown="<script>", value=0.25)
    assert "&lt;Title&gt;" in text
    assert "&lt;script&gt;" in text
    assert "<script" not in text


def test_a_name_that_nobody_gave_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("{{ nobody }}", encoding="utf-8")
    with pytest.raises(UndefinedError, match="nobody"):
        render(page)


def test_figures_in_words() -> None:
    nothing = Interval(math.nan, math.nan, math.nan)
    assert [number(value) for value in (0.12345, 1.0, -3.456, math.nan)] == ["0.1235", "1.00", "-3.46", "-"]
    assert span(Interval(0.0912, 0.085, 0.0971)) == "0.0912 [0.0850, 0.0971]"
    assert span(nothing) == "-"
    assert signed(Interval(0.01, -0.02, 0.03)) == "+0.0100 [-0.0200, +0.0300]"
    assert heading("ndcg@10") == "nDCG@10"
    assert heading("of_a_plugin") == "of_a_plugin"
