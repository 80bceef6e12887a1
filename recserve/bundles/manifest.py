"""Manifest of a bundle: what made it, and the size and sha256 of every file."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from recserve.config.strict import Strict
from recserve.errors import BundleError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
ITEMS = "items.parquet"
VECTORS = "item_vectors.npy"
SPACE = "item_vectors.{name}.npy"
"""Vectors of a named space, such as ``image``."""
ALLOWED_SUFFIXES = frozenset({".safetensors", ".npy", ".parquet", ".json"})


class FileEntry(Strict):
    """Size in bytes and sha256 (hexadecimal) of one file."""

    sha256: str
    size: int


class ComponentEntry(Strict):
    """A trained component: where it came from and what its fit reported."""

    plugin: str
    distribution: str
    version: str
    params: dict[str, Any]
    facts: dict[str, Any]
    saved: bool


class DataEntry(Strict):
    """Facts about the training data of a bundle."""

    fingerprint: str
    users: int
    items: int
    events: int
    until: int


class OrderEntry(Strict):
    """Order of a scenario's candidates that a training run chose on held-out data.

    It holds for requests that go by a history alone. What has a text or an anchor is answered as configured.

    Attributes:
        weights: Fusion weight of each retriever; empty as configured.
        ranked: Whether the ranker orders them; otherwise fusion does.
        facts: What the choice rests on, for people.
    """

    weights: dict[str, float] = Field(default_factory=dict)
    ranked: bool = True
    facts: dict[str, Any] = Field(default_factory=dict)


class Manifest(Strict):
    """Contents of ``manifest.json``; holds no time of day and no host, so that it is reproducible.

    Attributes:
        orders: What training chose, by scenario.
        left_out: Configured components that were not trained, by key, and why.
        spaces: Fingerprint of the item encoder of each named space that has one.
        postponed: Those of them that the next training fits: a quick run left them out for their time.
    """

    format_version: int = FORMAT_VERSION
    recserve_version: str
    config: dict[str, Any]
    config_hash: str
    seed: int
    data: DataEntry
    encoder_fingerprint: str | None
    components: dict[str, ComponentEntry]
    metrics: dict[str, Any]
    orders: dict[str, OrderEntry] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)
    postponed: list[str] = Field(default_factory=list)
    spaces: dict[str, str] = Field(default_factory=dict)
    files: dict[str, FileEntry]

    @classmethod
    def read(cls, bundle_id: str, raw: bytes) -> Manifest:
        """The manifest of a bundle from the bytes of its file.

        Raises:
            BundleError: They are damaged, altered, or of another format.
        """
        try:
            manifest = cls.model_validate_json(raw)
        except ValidationError as error:
            raise BundleError(
                f"bundle {bundle_id}: {MANIFEST} is damaged or of another format "
                f"({error.error_count()} problems)"
            ) from None
        if manifest.format_version != FORMAT_VERSION:
            raise BundleError(
                f"bundle {bundle_id} has format {manifest.format_version}, this version of "
                f"recserve reads {FORMAT_VERSION}; train a new one"
            )
        if manifest.canonical() != raw or manifest.bundle_id() != bundle_id:
            raise BundleError(f"bundle {bundle_id}: {MANIFEST} was altered")
        return manifest

    def canonical(self) -> bytes:
        """The bytes of ``manifest.json``."""
        # What older bundles know nothing of is written only where it says something.
        empty = {name for name in ("orders", "left_out", "postponed", "spaces") if not getattr(self, name)}
        plain = self.model_dump(mode="json", exclude=empty)
        text = json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False)
        return text.encode() + b"\n"

    def bundle_id(self) -> str:
        """``<date of the newest event>-<12 hex digits of the manifest's sha256>``."""
        day = np.datetime64(self.data.until, "ms").astype("datetime64[D]")
        return f"{str(day).replace('-', '')}-{hashlib.sha256(self.canonical()).hexdigest()[:12]}"
