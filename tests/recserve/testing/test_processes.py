"""The executor over processes: order, handles, bounds and errors, as in this process where it can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count, islice
from operator import add, floordiv

import numpy as np
import pytest

from recserve import Executor, InProcess, RecserveError
from recserve.testing import ProcessExecutor


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(2) as executor:
        yield executor


@pytest.fixture(params=["alone", "together"])
def executor(request: pytest.FixtureRequest, processes: ProcessExecutor) -> Executor:
    return InProcess() if request.param == "alone" else processes


def test_results_come_in_the_order_of_the_parts(executor: Executor) -> None:
    shared = executor.share(np.arange(3.0))
    found = list(executor.map(add, range(20), shared))
    np.testing.assert_array_equal(found, np.arange(20)[:, None] + np.arange(3.0))
    shared.release()


def test_a_part_is_given_the_values_of_its_handles(executor: Executor) -> None:
    parts = [(number, executor.share({"rows": np.full(2, number)})) for number in range(5)]
    for number, values in enumerate(executor.map(tuple, parts)):
        assert values[0] == number
        np.testing.assert_array_equal(values[1]["rows"], [number, number])


def test_what_a_part_raises_is_raised(executor: Executor) -> None:
    with pytest.raises(ZeroDivisionError):
        list(executor.map(floordiv, [1], executor.share(0)))


def test_what_is_shared_is_read_only_for_processes(processes: ProcessExecutor) -> None:
    one, out = processes.share(np.ones(3)), processes.share(np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        list(processes.map(np.add, [np.ones(3)], one, out))


def test_few_parts_are_under_way(processes: ProcessExecutor) -> None:
    drawn = count()
    assert list(islice(processes.map(abs, drawn), 3)) == [0, 1, 2]
    assert next(drawn) <= 3 + 2 * processes.workers


def test_a_lost_process_is_an_error_with_a_message() -> None:
    with ProcessExecutor(1) as executor, pytest.raises(RecserveError, match="ended before its part"):
        list(executor.map(os._exit, [3]))
