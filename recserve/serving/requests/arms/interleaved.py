"""Interleaved pages: one page of two arms' answers to a request."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

from recserve.experiments.interleaving import SHARED, draft
from recserve.serving.requests.request import Recommendation, Request, new_id


def interleaved(
    request: Request, first: Recommendation, second: Recommendation, names: Sequence[str]
) -> Recommendation:
    """A page with items of two answers, and whose they are.

    The draft of a user's equal lists is always the same, so that a page that is asked for again stays as it
    is.

    Args:
        request: What both answer.
        first: The first arm's answer.
        second: The second one's.
        names: Of the arms.
    """
    answers = (first, second)
    lists = [[item.item_id for item in answer.items] for answer in answers]
    drafted = draft(lists[0], lists[1], request.n, _coins(request, first, lists))
    # What both have is shown as the first says it, where it is shared.
    items = [{item.item_id: item for item in answer.items} for answer in answers]
    either = {**items[1], **items[0]}
    page = tuple(
        replace((either if team == SHARED else items[team])[item_id], rank=request.offset + place)
        for place, (item_id, team) in enumerate(drafted, 1)
    )
    causes = {
        part: cause for answer in answers for part, cause in zip(answer.degraded, answer.causes, strict=True)
    }
    timings = {
        name: max(answer.timings.get(name, 0.0) for answer in answers)
        for name in dict.fromkeys([*first.timings, *second.timings])
    }
    kept = {item.item_id for item in page}
    return Recommendation(
        recommendation_id=new_id(),
        scenario=first.scenario,
        items=page,
        bundle=first.bundle,
        degraded=tuple(causes),
        timings=timings,
        left_out=tuple(item_id for item_id in first.left_out if item_id not in kept),
        causes=tuple(causes.values()),
        experiment=first.experiment,
        teams=tuple(None if team == SHARED else names[team] for _, team in drafted),
        # The place that chance gave an item on one of the pages is not its place on this one.
        propensities=(),
    )


def _coins(request: Request, answer: Recommendation, lists: Sequence[Sequence[str]]) -> random.Random:
    """The generator of a draft's coins."""
    what = [answer.experiment, request.user_id, request.session_id, request.offset, *lists]
    digest = hashlib.blake2b(repr(what).encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return random.Random(digest)
