"""Manifest of a bundle: what made it, and the size and sha256 of every file."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
ITEMS = "items.parquet"
VECTORS = "item_vectors.npy"
ALLOWED_SUFFIXES = frozenset({".safetensors", ".npy", ".parquet", ".json"})


class FileEntry(BaseModel):
    """Size in bytes and sha256 (hexadecimal) of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str
    size: int


class ComponentEntry(BaseModel):
    """A trained component: where it came from and what its fit reported."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    plugin: str
    distribution: str
    version: str
    params: dict[str, Any]
    facts: dict[str, Any]
    saved: bool


class DataEntry(BaseModel):
    """Facts about the training data of a bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fingerprint: str
    users: int
    items: int
    events: int
    until: int


class Manifest(BaseModel):
    """Contents of ``manifest.json``; holds no time of day and no host, so that it is reproducible."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format_version: int = FORMAT_VERSION
    recserve_version: str
    config: dict[str, Any]
    config_hash: str
    seed: int
    data: DataEntry
    encoder_fingerprint: str | None
    components: dict[str, ComponentEntry]
    metrics: dict[str, Any]
    files: dict[str, FileEntry]

    def canonical(self) -> bytes:
        """The bytes of ``manifest.json``."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False)
        return text.encode() + b"\n"

    def bundle_id(self) -> str:
        """``<date of the newest event>-<12 hex digits of the manifest's sha256>``."""
        day = np.datetime64(self.data.until, "ms").astype("datetime64[D]")
        return f"{str(day).replace('-', '')}-{hashlib.sha256(self.canonical()).hexdigest()[:12]}"
