"""Configuration behind the routes: what the server runs with, and a check of what somebody would change.

A server never writes its configuration. Replicas are given it when they are deployed, on every machine of a
cluster the same, and most changes need a training run: so a checked text goes to whoever deploys it.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import yaml

from recserve.api.backends.store_threads import StoreThreads
from recserve.auth.masking import MASK, mask_settings, unmask_settings
from recserve.config import Config, Mistake, plain_config
from recserve.plugin.checking import Use, mistakes, uses
from recserve.plugin.registry import Registry

MOST_CHARACTERS = 50_000
"""Longest text that is checked."""

MOST_MISTAKES = 100
"""Of so many mistakes each is named, the first ones."""

_MOST_VALUES = 5_000
_SECONDS = 20.0

Needs = Literal["nothing", "restart", "training"]


@dataclass(frozen=True, slots=True)
class Shown:
    """The configuration in service, without secrets.

    Attributes:
        plain: Plain data: what was written, and always the scenarios.
        text: The same as YAML.
        masked: Whether something is left out of it.
    """

    plain: Any
    text: str
    masked: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; None where there is none on that side."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Checked:
    """What is to be said of a changed text.

    Attributes:
        mistakes: What is wrong with it, at most :data:`MOST_MISTAKES`.
        changes: What it changes.
        diff: The same as lines of a unified diff.
        needs: What a server needs to follow it; None where it has mistakes.
        masked: Whether it holds values that are masked, to be put back before it is used.
    """

    mistakes: Sequence[Mistake]
    changes: Sequence[Change]
    diff: str
    needs: Needs | None
    masked: bool


class ConfigurationDesk:
    """Shows the configuration and checks changed ones, one at a time, in a thread.

    Args:
        config: The configuration in service.
        registry: All installed components; called in a thread, where plugins may still have to be loaded.
    """

    def __init__(self, config: Config, registry: Callable[[], Registry]) -> None:
        self._config = config
        self._registry = registry
        self._threads = StoreThreads("configuration", threads=1, queue=4, end_seconds=_SECONDS)

    def uses(self) -> Iterator[Use]:
        """Where the configuration names components."""
        return uses(self._config)

    async def shown(self) -> Shown:
        """The configuration in service."""
        return await self._threads.run(self._shown)

    def _shown(self) -> Shown:
        actual = plain_config(self._config)
        plain = mask_settings(actual)
        return Shown(plain, _yaml(plain), plain != actual)

    async def check(self, text: str) -> Checked:
        """Check a text, without applying it.

        Args:
            text: YAML, as a configuration file has it. Values that :meth:`shown` masked stand for themselves.
        """
        return await self._threads.run(partial(self._check, text))

    def _check(self, text: str) -> Checked:
        actual = plain_config(self._config)
        raw, mistake = _read(text)
        if mistake is not None:
            return Checked([mistake], [], "", None, masked=False)
        wanted = unmask_settings(raw, actual)
        config, found = mistakes(wanted, self._registry())
        # What was written, in the order in which it was written, so that a change is a change of it.
        before, after = mask_settings(actual), mask_settings(wanted)
        diff = difflib.unified_diff(
            _yaml(before).splitlines(), _yaml(after).splitlines(), "in service", "changed", lineterm=""
        )
        needs = None if config is None or found else self._needs(config)
        # A mistake names the value at fault, which may be what was masked.
        told = [Mistake(one.field, mask_settings(one.message)) for one in found[:MOST_MISTAKES]]
        changes = list(_changes(before, after, ""))
        return Checked(told, changes, "\n".join(diff), needs, MASK in _yaml(raw))

    def _needs(self, wanted: Config) -> Needs:
        if wanted == self._config:
            return "nothing"
        return "restart" if wanted.training_hash() == self._config.training_hash() else "training"


def _read(text: str) -> tuple[Any, Mistake | None]:
    """Plain data of a YAML text, of bounded size however often it repeats itself."""
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return None, Mistake(None, f"this is not valid YAML: {' '.join(str(error).split())[:400]}")
    problem = _not_plain(raw)
    return ({} if raw is None else raw), None if problem is None else Mistake(None, problem)


def _not_plain(raw: Any) -> str | None:
    """Why a value is no plain data of bounded size; aliases count each time, so none may contain itself."""
    waiting, count = [raw], 0
    while waiting:
        count += 1
        if count > _MOST_VALUES:
            return f"the configuration has more than {_MOST_VALUES:,} values"
        one = waiting.pop()
        if isinstance(one, dict):
            for key in one:
                if not isinstance(key, str):
                    return f"a key must be a text, not {str(key)[:80]}"
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
        elif not isinstance(one, str | int | float | datetime.date | None):
            return f"a value must be a text, a number, true, false or null, not {type(one).__name__}"
    return None


def _changes(before: Any, after: Any, key: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            inner = f"{key}.{name}" if key else str(name)
            yield from _changes(before.get(name), after.get(name), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _changes(one, other, f"{key}[{place}]")
    elif before != after:
        yield Change(key, before, after)


class _Dumper(yaml.SafeDumper):
    """Writes every value where it stands, never as a reference to another place."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(plain: Any) -> str:
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text
