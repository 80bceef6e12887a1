"""Posts and their authors as arrays, and what histories say of authors."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from scipy.sparse import csr_array

from recserve import BoolArray, Catalogue, Float64Array, FloatArray, Histories, Int32Array, Int64Array
from recserve_social.parameters import FollowingParams

DAY_MS = 86_400_000.0


class Authors:
    """Who wrote which item of a catalogue, and when.

    An author is an item too, so that events can be about him: what somebody follows is an event with the item
    ``prefix + author id``.

    Attributes:
        row: int32, shape (n_items,); the row of the author of each post, -1 for what is no post of an author
            with an item.
        is_author: bool, shape (n_items,).
        posted: float64, shape (n_items,); milliseconds since the epoch, the oldest time where none is known.
    """

    def __init__(self, params: FollowingParams, catalogue: Catalogue) -> None:
        columns = catalogue.columns((params.author, params.posted))
        names = columns[params.author]
        rows = catalogue.ids.rows([f"{params.prefix}{name}" for name in names.values])
        # The first value stands for none.
        rows[0] = -1
        self.row: Int32Array = rows.astype(np.int32)[names.codes]
        # An author's item may name its author as well.
        self.row[self.row == np.arange(len(catalogue))] = -1
        self.is_author: BoolArray = np.zeros(len(catalogue), dtype=np.bool_)
        self.is_author[rows[rows >= 0]] = True
        times = np.array([_milliseconds(value) for value in columns[params.posted].values])[
            columns[params.posted].codes
        ]
        oldest = np.nanmin(times) if np.isfinite(times).any() else 0.0
        self.posted: Float64Array = np.where(np.isfinite(times), times, oldest)

    def __len__(self) -> int:
        return len(self.row)

    def followed(self, histories: Histories) -> csr_array:
        """Authors whom each user follows: CSR, float32, shape (B, n_items), 1 for each.

        The weights of the events with an author are added up, so that an ``unfollow`` with the weight of a
        ``follow`` takes it back.
        """
        histories = histories.known(len(self))
        return self._positive(histories.where(self.is_author[histories.items]), None)

    def liked(self, histories: Histories) -> csr_array:
        """Authors whose posts each user liked, by the sum of weights: CSR, float32, shape (B, n_items)."""
        histories = histories.known(len(self))
        posts = histories.where(self.row[histories.items] >= 0)
        return self._positive(posts, self.row[posts.items])

    def _positive(self, histories: Histories, rows: Int32Array | None) -> csr_array:
        stride = max(len(self), 1)
        columns = (histories.items if rows is None else rows).astype(np.int64)
        pairs, where = np.unique(histories.owners() * stride + columns, return_inverse=True)
        sums = np.bincount(where, histories.weights, len(pairs))
        kept, values = pairs[sums > 0], sums[sums > 0]
        weights = np.ones(len(kept), np.float32) if rows is None else values.astype(np.float32)
        place = (weights, (kept // stride, kept % stride))
        return csr_array(place, shape=(len(histories), len(self)))

    def judge(
        self, rows: Int32Array, scores: FloatArray, times: Int64Array, half_life_days: float
    ) -> FloatArray:
        """Logarithms of the scores of authors, and of posts by the score of their author and their age.

        Args:
            rows: int32, shape (M,); authors and posts.
            scores: float32, shape (B, N), N at most n_items; of the first N items, 0 for those that are no
                authors or out of the question. Later ones have none.
            times: int64, shape (B,); when it is asked, milliseconds.
            half_life_days: Age at which a post counts half.

        Returns:
            float32, shape (B, M); -inf where the score is 0. A logarithm falls with age without end, so that
            old posts keep their order.
        """
        is_post = self.row[rows] >= 0
        judged = np.where(is_post, self.row[rows], rows)
        found = np.zeros((len(scores), len(rows)), dtype=np.float32)
        scored = judged < scores.shape[1]
        found[:, scored] = scores[:, judged[scored]]
        with np.errstate(divide="ignore"):
            logs = np.log(found)
        age = np.maximum(times[:, None] - self.posted[rows[is_post]], 0.0) / DAY_MS
        logs[:, is_post] -= np.log(2.0) * age / half_life_days
        return np.asarray(logs, dtype=np.float32)


def _milliseconds(value: object) -> float:
    """A moment since the epoch, NaN for what is none; times without an offset are UTC."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return np.nan
        return 1000 * (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else np.nan
