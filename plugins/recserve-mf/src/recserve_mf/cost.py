"""Cost model of fits and of scoring, in which the search's budget is counted.

The clock would make what is chosen depend on the machine and on what else it does. So work is counted, in
nanoseconds of one core as they were measured once; only ratios matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from recserve_mf.solver.ials import Problem

# Of a conjugate gradient pass: a multiplication of a pair and dimension, and a pair's own overhead.
_PASS = 0.1
_PAIR = 12.0
# Of matrix products: Gramian and rotation of a row, by the square of the dimension.
_PRODUCT = 0.07
_EIGEN = 2.0
_SWEEP = 2_000_000.0
# Of ranking: a score's multiplication and dimension, its share of masking and of the best.
_SCORE = 0.03
_RANK = 1.5
_FOLD_IN = 5.0


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a problem: what the cost of working on it depends on.

    Attributes:
        pairs: Observed pairs.
        users: Users with a pair.
        items: Items with a pair.
    """

    pairs: int
    users: int
    items: int

    @classmethod
    def of(cls, problem: Problem) -> Size:
        """Size of some observed pairs."""
        return cls(len(problem.by_user.columns), len(problem.by_user), len(problem.by_item))

    def fit(self, dimension: int, iterations: int, steps: int) -> float:
        """Cost of a factorisation with so many conjugate gradient steps."""
        passes = 2 * self.pairs * (steps + 1) * (2 * dimension * _PASS + _PAIR)
        products = _PRODUCT * (self.users + self.items) * dimension**2
        return iterations * (passes + products + 2 * _EIGEN * dimension**3 + _SWEEP)

    def ranking(self, queries: int, dimension: int) -> float:
        """Cost of folding so many users in and ranking all items for each."""
        length = self.pairs / max(self.users, 1)
        return queries * (self.items * (dimension * _SCORE + _RANK) + length * (2 * dimension + _FOLD_IN))
