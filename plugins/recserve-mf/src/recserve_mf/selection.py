"""Chooses settings on validation data that is carved out of the training data, by cheap fits.

The weight of unobserved pairs and the shrinkage of factors must be chosen together: the best of either
depends on the other and on how sparse and how regular the data are, by more than a factor of ten between
data sets. What is nearly constant is their product, so the search goes over the ratio and the *strength*
``regularization * (1 + unobserved_ratio)``: first by long steps with narrow factors, then by short ones
with wider factors. How much wider factors gain there decides on the width. These fits are short, and neither
they nor narrow factors can overfit, so they may favour much more shrinkage than is good for the final fit:
what was found is compared once with the usual place by fits of full length and half the final width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recserve import (
    FitContext,
    Histories,
    Validation,
    narrow,
    places_within,
)
from recserve_mf.cost import Size
from recserve_mf.model import Model
from recserve_mf.parameters import MfParams
from recserve_mf.ranking import ndcg
from recserve_mf.solver.factorise import factorise
from recserve_mf.solver.ials import Objective, Problem

RATIOS = tuple(2.0**step for step in range(-2, 9))
STRENGTHS = tuple(0.01 * 2.0 ** (step / 2) for step in range(15))
START = (RATIOS.index(8.0), 8)
STRIDES = (2, 2)
DEFAULT_RATIO = 8.0
DEFAULT_STRENGTH = STRENGTHS[8]

# Enough to tell most settings apart.
TRIAL_ITERATIONS = 4
TRIAL_STEPS = 2
TESTED_USERS = 2000
FEWEST_TRIES, ENOUGH_TRIES, MOST_TRIES = 4, 12, 20
MOST_REFINEMENTS = 5
# Work that small data get anyway, about a second: a few narrow fits are no less for a small final one.
LEAST_BUDGET = 1e9
# Shares of the budget.
NARROW_SHARE, REFINED_SHARE, HALF_LIFE_SHARE = 0.5, 0.5, 0.15

# What the usual place must gain over the one that was found: less is within the noise of the validation.
CLEARLY = 0.03

# What doubling the width must gain halfway for the final width to be doubled.
GROWTH = 0.04
WIDEST = 512
NARROWEST = 16

Place = tuple[int, ...]
"""Indexes of a ratio and of a strength."""

NO_HALF_LIFE = 0.0
HALF_LIVES = (1.5, 3.0, 6.0, 12.0, 25.0, 50.0, float("inf"))
MAX_STEPS, MIN_STEPS = 8000, 500
STEPS_A_USER = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a fit that depend on the data.

    Attributes:
        dimension: Length of a factor.
        unobserved_ratio: See :class:`recserve_mf.parameters.MfParams`.
        regularization: Likewise.
        half_life_events: Likewise.
    """

    dimension: int
    unobserved_ratio: float
    regularization: float
    half_life_events: float


class Search:
    """Search for settings within a budget of work.

    Args:
        validation: What to learn from and what to predict.
        params: What is configured; only the rest is searched.
        context: Seed, progress, threads and device.
        dimension: Length of a factor unless wider or narrower ones are better.
        size: Of the problem that the final fit is for.
    """

    def __init__(
        self, validation: Validation, params: MfParams, context: FitContext, dimension: int, size: Size
    ) -> None:
        problem = Problem.of(validation.training, params.confidence_power)
        assert problem is not None, "validation leaves every user at least one positive event"
        self._validation = validation
        self._params = params
        self._trial = params.model_copy(
            update={
                "iterations": min(params.iterations, TRIAL_ITERATIONS),
                "cg_steps": min(params.cg_steps, TRIAL_STEPS),
            }
        )
        self._context = context
        self._dimension = dimension
        self._problem = problem
        self._size = size
        final = size.fit(dimension, params.iterations, params.cg_steps)
        self._left = max(params.search_share * final, LEAST_BUDGET)
        self._best: Model | None = None
        self._best_score = -1.0
        self._scores: dict[tuple[int, int, Place], float] = {}
        self.fits: list[dict[str, float]] = []
        self.half_lives: dict[str, float] = {}

    def settings(self) -> Settings:
        """Search; what was tried is in :attr:`fits` and :attr:`half_lives` afterwards."""
        params = self._params
        reserve = HALF_LIFE_SHARE * self._left if self._wants_half_life else 0.0
        self._left -= reserve
        place, dimension = self._place_and_width()
        place = self._confirmed(place, dimension)
        self._left += reserve
        half_life = params.half_life_events
        if half_life is None:
            half_life = self._half_life() if self._wants_half_life else NO_HALF_LIFE
        return Settings(dimension, self._ratio(place), self._regularization(place), half_life)

    @property
    def _wants_half_life(self) -> bool:
        return self._params.half_life_events is None and self._validation.newest

    def _place_and_width(self) -> tuple[Place, int]:
        """Where on the grids the best settings are, and the width that pays."""
        width = self._dimension
        strides = (
            0 if self._params.unobserved_ratio or self._params.regularization else STRIDES[0],
            0 if self._params.regularization else STRIDES[1],
        )
        if not any(strides) and not self._wants_half_life:
            return START, width
        halves = [max(width // part, 1) for part in (2, 4, 8)]
        for low in halves:
            tries = int(NARROW_SHARE * self._left / self._cost(low))
            if tries >= ENOUGH_TRIES:
                break
        place = self._narrow(low, START, strides, min(max(tries, FEWEST_TRIES), MOST_TRIES))
        for wider, share in ((halves[1], REFINED_SHARE), (halves[0], 1.0)):
            tries = min(int(share * self._left / self._cost(wider)), MOST_REFINEMENTS)
            if wider > low and tries:
                place = self._narrow(wider, place, tuple(stride // 2 for stride in strides), tries)
        if self._params.dimension is None:
            width = self._paying_width(width, place)
        return place, width

    def _confirmed(self, place: Place, dimension: int) -> Place:
        """The place that was found, or the usual one where that is clearly better by fits of full length."""
        if place == START or self._params.regularization:
            return place
        half = max(dimension // 2, 1)
        before = self._best, self._best_score
        found, usual = (self._try(half, each, self._params) for each in (place, START))
        if usual > (1.0 + CLEARLY) * found:
            return START
        self._best, self._best_score = before
        return place

    def _paying_width(self, width: int, place: Place) -> int:
        """Twice the width where half of it gains much over a quarter, half of it where that loses."""
        if any(
            (part, self._trial.iterations, place) not in self._scores and self._cost(part) > self._left
            for part in (width // 2, width // 4)
        ):
            return width
        half, quarter = (self._try(part, place) for part in (width // 2, width // 4))
        if half >= (1.0 + GROWTH) * quarter:
            return min(2 * width, max(width, WIDEST))
        return max(width // 2, NARROWEST) if half < quarter else width

    def _narrow(self, dimension: int, start: Place, strides: Place, tries: int) -> Place:
        sizes = (len(RATIOS), len(STRENGTHS))
        return narrow(sizes, start, strides, lambda place: self._try(dimension, place), tries)[0]

    def _try(self, dimension: int, place: Place, params: MfParams | None = None) -> float:
        """Fit with settings, shortly if not said otherwise, and score them on the validation data, once."""
        params = params or self._trial
        key = (dimension, params.iterations, place)
        if key in self._scores:
            return self._scores[key]
        problem = self._problem
        if params is self._trial:
            self._left -= self._cost(dimension)
        ratio, regularization = self._ratio(place), self._regularization(place)
        objective = Objective(ratio * problem.density, regularization, params.nu)
        label = f"choosing settings, fit {len(self.fits) + 1} ({dimension} dimensions)"
        items = factorise(
            problem, objective, dimension, params, self._context, params.iterations,
            lambda _, done, total: self._context.progress(label, done, total),
        )  # fmt: skip
        n_items = self._validation.training.n_items
        model = Model.of(problem, items, n_items, objective, params.confidence_power)
        score = ndcg(model, self._validation.histories, self._validation.targets, self._context.threads)
        self.fits.append(
            {
                "dimension": dimension,
                "iterations": params.iterations,
                "unobserved_ratio": ratio,
                "regularization": regularization,
                "ndcg@20": score,
            }
        )
        self._scores[key] = score
        if score > self._best_score:
            self._best, self._best_score = model, score
        return score

    def _half_life(self) -> float:
        """How quickly old events should fade when a user is folded in, for the next event's sake."""
        model = self._best
        assert model is not None, "a half-life is looked for after the first fit"
        each = self._size.ranking(1, model.items.shape[1])
        count = int(min(max(self._left / (len(HALF_LIVES) * each), MIN_STEPS), MAX_STEPS))
        steps = Steps.of(self._validation.whole, self._validation.histories.lengths, count)

        def score(half_life: float) -> float:
            events = NO_HALF_LIFE if half_life == float("inf") else half_life
            self._context.progress(f"choosing the half-life, trying {events:g} events", 0, 1)
            faded = replace(model, half_life_events=events)
            self.half_lives[str(events)] = ndcg(faded, steps.histories, steps.targets, self._context.threads)
            return self.half_lives[str(events)]

        # All of them: long ones differ so little that chance would end a climb among them.
        best = max(HALF_LIVES, key=score)
        return NO_HALF_LIFE if best == float("inf") else best

    def _cost(self, dimension: int) -> float:
        fitted = self._size.fit(dimension, self._trial.iterations, self._trial.cg_steps)
        return fitted + self._size.ranking(len(self._validation.histories), dimension)

    def _ratio(self, place: Place) -> float:
        if self._params.unobserved_ratio is None and self._params.regularization is None:
            return RATIOS[place[0]]
        return self._params.unobserved_ratio or DEFAULT_RATIO

    def _regularization(self, place: Place) -> float:
        return self._params.regularization or STRENGTHS[place[1]] / (1.0 + self._ratio(place))


@dataclass(frozen=True, slots=True)
class Steps:
    """Single events to predict.

    Attributes:
        histories: What each event's user had done before it, Q histories.
        targets: The event, Q histories of one event each.
    """

    histories: Histories
    targets: Histories

    @classmethod
    def of(cls, everything: Histories, kept: NDArray[np.int64], count: int = MAX_STEPS) -> Steps:
        """About ``count`` events after the first ``kept`` of each user, spread evenly over users."""
        if len(everything) > count:
            some = np.linspace(0, len(everything) - 1, count).astype(np.int64)
            everything, kept = everything.select(some), kept[some]
        held = everything.lengths - kept
        each = np.minimum(held, np.clip(count // max(len(held), 1), 1, STEPS_A_USER))
        users = np.repeat(np.arange(len(held)), each)
        number = places_within(each)
        places = kept[users] + number * held[users] // each[users]
        single = everything.select(users)
        position = places_within(single.lengths)
        until = np.repeat(places, single.lengths)
        return cls(single.where(position < until), single.where(position == until))
