"""Masking of secrets in configurations, and putting them back."""

from __future__ import annotations

from typing import Any

import pytest

from recserve.auth.masking import MASK, mask_settings, unmask_settings


@pytest.mark.parametrize(
    ("plain", "masked"),
    [
        ({"api_key": "hush", "tokens": 7}, {"api_key": MASK, "tokens": 7}),
        ({"password": "${PASSWORD}", "token": None}, {"password": "${PASSWORD}", "token": None}),
        ("postgresql://shop:hush@db/shop", f"postgresql://{MASK}@db/shop"),
        ("postgresql://shop:${PASSWORD}@db/shop", "postgresql://shop:${PASSWORD}@db/shop"),
        ("s3://a:part${SECRET}@host/x?k=${SECRET}", f"s3://{MASK}@host/x?k=${{SECRET}}"),
        ("s3://bucket/folder?secret_key=hush", f"s3://bucket/folder?{MASK}"),
        ("file:///mnt/bundles", "file:///mnt/bundles"),
        (["plain", {"client_secret": "hush"}], ["plain", {"client_secret": MASK}]),
        ("what is it?", "what is it?"),
    ],
)
def test_masks(plain: Any, masked: Any) -> None:
    assert mask_settings(plain) == masked


def test_what_was_left_alone_is_put_back() -> None:
    actual = {"url": "s3://a:hush@host/x", "more": [{"token": "hush"}], "seed": 1}
    changed = mask_settings(actual) | {"seed": 2}
    assert unmask_settings(changed, actual) == actual | {"seed": 2}


def test_what_was_changed_stays_changed() -> None:
    actual = {"url": "s3://a:hush@host/x", "more": [1, 2]}
    assert unmask_settings({"url": f"s3://{MASK}@other/x", "more": [3], "new": MASK}, actual) == {
        "url": f"s3://{MASK}@other/x",
        "more": [3],
        "new": MASK,
    }
