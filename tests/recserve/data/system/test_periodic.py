"""Something is done again and again until it is closed."""

from __future__ import annotations

import threading

from recserve.data.system.periodic import PeriodicThread


def test_it_is_called_at_once_and_again_until_it_is_closed() -> None:
    calls: list[str] = []
    often = threading.Event()

    def call() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) > 3:
            often.set()

    thread = PeriodicThread("looks", call, 0.001)
    thread.start()
    assert calls[0] == threading.current_thread().name
    assert often.wait(20)
    thread.close()
    assert set(calls[1:]) == {"looks"}
    number = len(calls)
    assert not threading.Event().wait(0.02)
    assert len(calls) == number


def test_one_that_was_never_started_can_be_closed() -> None:
    PeriodicThread("looks", lambda: None, 1.0).close()
