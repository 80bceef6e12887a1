"""Cache file of enrichments by content: a second training asks nothing that was answered."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from recserve import DataError
from recserve_llm.enriching.prompt import VERSION, Enrichment
from recserve_llm.parameters import LlmItemTextParams

_KEYS_AT_ONCE = 500


class EnrichmentCache:
    """SQLite file with an answer a prompt; an answer that was refused is there as well, as nothing.

    Args:
        path: The file; it and its folder are made where they are missing, readable by their owner only.

    Raises:
        DataError: It cannot be opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(self._open()) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS enrichments (key TEXT PRIMARY KEY, answer TEXT)")
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"cannot use {path} as a cache of enrichments: {error}") from None

    def read(self, keys: Iterable[str]) -> dict[str, Enrichment | None]:
        """What is known of some keys; None of an answer that was refused."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Enrichment | None] = {}
        with closing(self._open()) as database:
            for start in range(0, len(wanted), _KEYS_AT_ONCE):
                part = wanted[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, answer FROM enrichments WHERE key IN ({marks})"
                found.update((key, _read(answer)) for key, answer in database.execute(query, part))
        return found

    def write(self, answers: Mapping[str, Enrichment | None]) -> None:
        """Keep answers."""
        rows = [(key, _written(answer)) for key, answer in answers.items()]
        with closing(self._open()) as database, database:
            database.executemany("INSERT OR REPLACE INTO enrichments VALUES (?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)


def content_key(text: str, params: LlmItemTextParams) -> str:
    """Digest of everything that an answer depends on: text, model, form."""
    parts = [VERSION, params.model, params.answer, params.tags, params.summary_characters, text]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def default_path() -> Path:
    """``recserve/llm/enrichments.sqlite`` under the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "recserve", "llm", "enrichments.sqlite")


def _written(answer: Enrichment | None) -> str:
    return "null" if answer is None else json.dumps([answer.tags, answer.summary], ensure_ascii=False)


def _read(answer: str) -> Enrichment | None:
    read = json.loads(answer)
    return None if read is None else Enrichment(tuple(read[0]), read[1])
