"""The validation split that suits the data: by time where times order all events, else by user."""

from __future__ import annotations

from recserve.config import Config, PipelineConfig, TrainConfig
from recserve.data.dataset import Dataset
from recserve.data.events.event_order import EventOrder
from recserve.evaluation.splits import DEFAULT_HISTORY, Split, by_user, temporal

TESTED_USERS = 5000

QUERIES_PER_USER = 50
"""Queries of a split by time: enough for a check of each run; `recserve evaluate` asks every one."""


def home_split(data: Dataset, config: Config) -> Split:
    """The split that a home's bundles are evaluated on: its test window, histories as long as served ones.

    Raises:
        DataError: There is too little data.
    """
    return validation_split(
        data,
        config.train.test_window,
        seed=config.train.seed,
        history=config.server.history,
        queries_per_user=QUERIES_PER_USER,
        repeats=asks_for_repeats(config.scenarios[config.default_scenario]),
    )


def next_window(data: Dataset, config: TrainConfig, *, repeats: bool) -> Split:
    """The split on whose held-out part rankers learn to order what retrievers of the earlier part propose.

    Args:
        data: Training data.
        config: Share, seed and number of queries.
        repeats: See :func:`validation_split`.

    Raises:
        DataError: There is too little data.
    """
    return validation_split(
        data, config.next_window, seed=config.seed, users=config.ranking_examples, repeats=repeats
    )


def asks_for_repeats(scenario: PipelineConfig) -> bool:
    """Whether what a user has had already is as good an answer of a scenario as anything else."""
    return scenario.seen == "allow"


def validation_split(
    data: Dataset,
    share: float,
    *,
    seed: int = 0,
    history: int = DEFAULT_HISTORY,
    queries_per_user: int | None = None,
    users: int = TESTED_USERS,
    repeats: bool = False,
) -> Split:
    """The split that suits the data: the newest window, or some items of each user where times say nothing.

    Args:
        data: All events.
        share: Of the events, or of each user's items.
        seed: Of whatever is drawn at random.
        history: See :attr:`recserve.evaluation.splits.Split.history`.
        queries_per_user: Of a split by time; see :func:`recserve.evaluation.splits.temporal`.
        users: Of a split by user, at most.
        repeats: Of a split by time; see :func:`recserve.evaluation.splits.temporal`.

    Raises:
        DataError: There is too little data.
    """
    if data.event_order is EventOrder.TIME:
        return temporal(data, share, history=history, queries_per_user=queries_per_user, repeats=repeats)
    newest = data.event_order is EventOrder.USER
    return by_user(data, share, newest=newest, users=users, seed=seed, history=history)
