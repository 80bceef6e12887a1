"""Guardrails: a bad arm is stopped within its bound, a good one never, whatever befalls the server."""

from __future__ import annotations

import random

import pytest

from recserve.experiments.assignment import AssignedArm, Assignments
from recserve.experiments.definition import Guardrails
from recserve.experiments.guardrails import Answered, GuardrailWatch
from tests.support.experiments import running

GOOD, BAD, SLOW = Answered(False, 20.0), Answered(True, 20.0), Answered(False, 900.0)
ANSWERS = 100


def arm(name: str) -> AssignedArm:
    assignments = Assignments([running()], {"home"})
    found = (assignments.assign("home", f"u{number}", None) for number in range(99))
    return next(one.arm for one in found if one is not None and one.arm is not None and one.arm.name == name)


CONTROL, FEWER = arm("control"), arm("fewer")
BOUNDS = Guardrails(answers=ANSWERS)


def stopped_after(
    answers: list[tuple[Answered, Answered]], bounds: Guardrails = BOUNDS
) -> tuple[int, str] | None:
    """After how many answers of the arm it is stopped, and why; each comes after one of the control."""
    watch = GuardrailWatch()
    for number, (control, mine) in enumerate(answers, 1):
        assert watch.answered(CONTROL, CONTROL, bounds, control) is None
        if (reason := watch.answered(FEWER, CONTROL, bounds, mine)) is not None:
            return number, reason
    return None


@pytest.mark.parametrize(("bad", "said"), [(BAD, "degraded"), (SLOW, "over 500 ms")])
def test_a_bad_arm_is_stopped_within_the_bound(bad: Answered, said: str) -> None:
    found = stopped_after([(GOOD, bad)] * ANSWERS)
    assert found is not None
    number, reason = found
    assert number <= ANSWERS
    assert reason.startswith(f"{said}: {number} of its last {number} answers, 0 of the last {number} of arm")


def test_an_arm_that_is_bad_now_and_then_is_stopped_too() -> None:
    shuffle = random.Random(0)
    found = stopped_after([(GOOD, BAD if shuffle.random() < 0.5 else GOOD) for _ in range(3 * ANSWERS)])
    assert found is not None
    assert found[0] <= ANSWERS


def test_what_befalls_the_whole_server_stops_no_arm() -> None:
    assert stopped_after([(GOOD, GOOD)] * 300 + [(BAD, BAD)] * 300) is None


def test_an_equally_good_arm_is_left_alone() -> None:
    """Through ten thousand looks at each of several rates."""
    for rate in (0.02, 0.2, 0.5):
        shuffle = random.Random(1)
        answers = [tuple(BAD if shuffle.random() < rate else GOOD for _ in range(2)) for _ in range(10_000)]
        assert stopped_after([(one, other) for one, other in answers]) is None


def test_the_control_is_never_stopped() -> None:
    assert stopped_after([(BAD, GOOD)] * 300) is None


def test_a_bound_can_be_left_out() -> None:
    assert stopped_after([(GOOD, BAD)] * 300, Guardrails(answers=ANSWERS, degraded=None)) is None


def test_an_arm_is_not_judged_before_the_control_has_answered() -> None:
    watch = GuardrailWatch()
    assert all(watch.answered(FEWER, CONTROL, BOUNDS, BAD) is None for _ in range(300))


def test_what_lies_beyond_the_window_is_forgiven() -> None:
    found = [(GOOD, BAD)] * 10 + [(GOOD, GOOD)] * 300
    assert stopped_after(found * 20) is None


def test_dislikes_count_for_each_answer() -> None:
    equally, alone = GuardrailWatch(), GuardrailWatch()
    reasons = []
    for _ in range(ANSWERS):
        for watch in (equally, alone):
            watch.answered(CONTROL, CONTROL, BOUNDS, GOOD)
            watch.answered(FEWER, CONTROL, BOUNDS, GOOD)
        assert equally.disliked(CONTROL, CONTROL, BOUNDS) is None
        assert equally.disliked(FEWER, CONTROL, BOUNDS) is None
        reasons.append(alone.disliked(FEWER, CONTROL, BOUNDS))
    found = next(reason for reason in reasons if reason is not None)
    assert found.startswith("dislikes: ")


def test_what_is_over_is_forgotten() -> None:
    watch = GuardrailWatch()
    for _ in range(5):
        watch.answered(CONTROL, CONTROL, BOUNDS, GOOD)
        watch.answered(FEWER, CONTROL, BOUNDS, BAD)
    watch.keep(frozenset())
    assert watch.answered(FEWER, CONTROL, BOUNDS, BAD) is None
