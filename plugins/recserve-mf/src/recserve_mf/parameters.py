"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pydantic import Field

from recserve import NoParams, search


class MfParams(NoParams):
    """Parameters of the retriever ``mf``.

    ``unobserved_ratio``, ``regularization``, ``half_life_events`` and ``dimension`` are chosen on a
    validation split of the training data unless they are given; see :mod:`recserve_mf.selection`.
    """

    dimension: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Length of a factor; default: 16 to 512, by the size of the data and by validation.",
        json_schema_extra=search(choices=[32, 64, 128, 256, 512]),
    )
    iterations: int = Field(
        10,
        ge=1,
        le=1000,
        description="Alternating sweeps over users and items.",
        json_schema_extra=search(low=4, high=24),
    )
    regularization: float | None = Field(
        None,
        gt=0,
        description="Shrinkage of factors (lambda); default: chosen on held-out training events.",
        json_schema_extra=search(low=0.0005, high=0.05, log=True),
    )
    nu: float = Field(
        1.0,
        ge=0,
        le=2,
        description="Exponent of the frequency scaling of the regularization; 0 is plain L2.",
        json_schema_extra=search(low=0.5, high=1.0),
    )
    unobserved_ratio: float | None = Field(
        None,
        gt=0,
        description=(
            "Weight of all pairs' pull to zero over the weight of all observed pairs. The paper's "
            "unobserved weight is this times the density of the data. Default: chosen together with the "
            "regularization; 8 where that is given."
        ),
        json_schema_extra=search(low=0.5, high=256.0, log=True),
    )
    confidence_power: float = Field(
        1.0,
        ge=0,
        le=2,
        description="Exponent on a user's summed confidence in an item; 0 counts all alike.",
        json_schema_extra=search(low=0.0, high=1.0),
    )
    init_stddev: float = Field(
        0.1,
        gt=0,
        description="Norm of an initial factor; divided by the root of the dimension.",
        json_schema_extra=search(low=0.01, high=1.0, log=True),
    )
    cg_steps: int = Field(
        3,
        ge=1,
        le=100,
        description="Conjugate gradient steps a row and sweep (CPU solver).",
        json_schema_extra=search(low=2, high=6),
    )
    half_life_events: float | None = Field(
        None,
        ge=0,
        description=(
            "When a user is folded in: after this many later likes one counts half; 0: old and new count "
            "alike; default: chosen on held-out training events."
        ),
        json_schema_extra=search(low=1.0, high=100.0, log=True),
    )
    search_share: float = Field(
        1.0,
        ge=0,
        le=100,
        description=(
            "Work on choosing settings: about this share of the final fit's, on small data about a "
            "second, and at most two fits of half the width; 0 takes constants."
        ),
    )
    personal_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of the user's taste where items similar to a given one are asked for.",
        json_schema_extra=search(low=0.0, high=0.5),
    )
    approximate_above: int = Field(
        50_000,
        ge=0,
        description=(
            "With more items than this an index finds at least 98% of what scoring every item would; up to "
            "this many, and where filters leave few, every item is scored."
        ),
    )
