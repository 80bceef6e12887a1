"""A caller who is bound to one user may ask for nobody else."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from recserve.auth.caller import CALLER, INCLUDED, NOBODY, SCOPES, Caller, caller_of
from recserve.auth.errors import ForbiddenError


def test_a_bound_caller_may_ask_for_that_user_or_for_nobody() -> None:
    caller = Caller("key:k", frozenset({"recommend"}), "42")
    caller.check_user("42")
    caller.check_user(None)
    with pytest.raises(ForbiddenError) as caught:
        caller.check_user("43")
    assert (caught.value.field, caught.value.status) == ("user_id", 403)
    Caller().check_user("anybody")


def test_where_nobody_checks_keys_everybody_may_do_everything() -> None:
    request = Request({"type": "http"})
    assert caller_of(request).scopes == frozenset(SCOPES)
    assert caller_of(Request({"type": "http", CALLER: NOBODY})).scopes == frozenset()


def test_admins_may_do_all_and_writers_may_not_read() -> None:
    assert INCLUDED["admin"] == frozenset(SCOPES)
    assert INCLUDED["write"] == {"write"}
    assert INCLUDED["recommend"] < INCLUDED["read"]
