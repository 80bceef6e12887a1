"""Made-up events and items of the GPU benchmark, of any size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recserve import Catalogue, Dataset, Item
from recserve.data.arrays import FloatArray, Int32Array
from recserve.data.entities import DEFAULT_EVENT_TYPES
from recserve.data.vocabulary import Vocabulary

WORDS_OF_A_TOPIC = 40


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        texts: To encode.
        users, items, topics, events: Of the data.
        epochs: Of the sequence model.
        sweeps: Of matrix factorization.
        part: Share of texts and events that the CPU does too.
        seconds: Of a measurement of the server.
    """

    texts: int
    users: int
    items: int
    topics: int
    events: int
    epochs: int
    sweeps: int
    part: float
    seconds: float


class Data:
    """Made-up events and items.

    Args:
        sizes: How much.
        seed: Of everything random.
    """

    def __init__(self, sizes: Sizes, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self.sizes = sizes
        self.titles = [self.title(row) for row in range(sizes.items)]
        per_user = sizes.events // sizes.users
        span = sizes.items // sizes.topics
        topic = self._rng.integers(0, sizes.topics, sizes.users)
        start = self._rng.integers(0, span, sizes.users)
        steps = self._rng.integers(1, 3, (sizes.users, per_user)).cumsum(axis=1)
        self.items: Int32Array = ((start[:, None] + steps) % span * sizes.topics + topic[:, None]).astype(
            np.int32
        )

    @property
    def some_users(self) -> int:
        """As many as the CPU has to do with."""
        return int(self.sizes.users * self.sizes.part)

    def title(self, row: int) -> str:
        """A title of words of the row's topic."""
        topic = row % self.sizes.topics
        words = self._rng.integers(0, WORDS_OF_A_TOPIC, 6)
        return f"number {row} " + " ".join(
            f"topic{topic} word{topic * WORDS_OF_A_TOPIC + word}" for word in words
        )

    def dataset(self, vectors: FloatArray, users: int) -> Dataset:
        """Events of the first users."""
        items = self.items[:users]
        catalogue = Catalogue.of(
            [Item(str(row), {"title": title}) for row, title in enumerate(self.titles)], vectors
        )
        names = tuple(DEFAULT_EVENT_TYPES)
        count = items.size
        # By time: first what each user did first.
        return Dataset(
            catalogue,
            Vocabulary(f"user-{row}" for row in range(users)),
            np.tile(np.arange(users, dtype=np.int32), items.shape[1]),
            items.T.ravel(),
            np.full(count, names.index("view"), dtype=np.int16),
            np.ones(count, dtype=np.float32),
            1_700_000_000_000 + np.arange(count, dtype=np.int64) * 1000,
            names,
        )

    def write(self, folder: Path, users: int) -> None:
        """The same as files that `recserve import` reads."""
        items = self.items[:users]
        names = np.char.add("user-", np.repeat(np.arange(users), items.shape[1]).astype(str))
        events = pa.table(
            {
                "user_id": names,
                "item_id": items.ravel().astype(str),
                "event": pa.array(["view"] * items.size),
                "timestamp": 1_700_000_000_000 + np.tile(np.arange(items.shape[1]), users) * 60_000,
            }
        )
        pq.write_table(events, folder / "events.parquet")
        lines = (json.dumps({"item_id": str(row), "title": title}) for row, title in enumerate(self.titles))
        (folder / "items.jsonl").write_text("\n".join(lines) + "\n")
