"""Every hook is declared, documented for plugin authors, and answers."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path

import pluggy
import pytest

from recserve import Component, NoParams, hookimpl
from recserve.plugin.hookspecs import PROJECT, HookSpecs
from recserve.plugin.protocols import Stage

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "write-a-plugin.md"
HOOKS = dict(inspect.getmembers(HookSpecs, inspect.isfunction))
REGISTERING = [name for name in HOOKS if name.startswith("register_")]
OBSERVERS = sorted(set(HOOKS) - set(REGISTERING))


def test_every_stage_has_a_hook_of_its_name() -> None:
    assert sorted(REGISTERING) == sorted(f"register_{stage.value}s" for stage in Stage)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_typed_and_documented(name: str) -> None:
    hints = typing.get_type_hints(HOOKS[name])
    assert set(hints) == {*inspect.signature(HOOKS[name]).parameters, "return"} - {"self"}
    assert inspect.getdoc(HOOKS[name])
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", REGISTERING)
def test_what_a_plugin_registers_arrives(name: str) -> None:
    component = Component("mine", lambda params, catalogue: object(), NoParams, summary="Mine.")

    class Plugin:
        pass

    setattr(Plugin, name, staticmethod(hookimpl(lambda: [component])))
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    manager.register(Plugin())
    manager.check_pending()
    assert getattr(manager.hook, name)() == [[component]]


def test_observers_hear_of_every_call() -> None:
    heard: list[object] = []

    class Plugin:
        @hookimpl
        def after_recommend(self, answers: object) -> None:
            heard.append(answers)

        @hookimpl
        def on_events(self, events: object) -> None:
            heard.append(events)

    assert OBSERVERS == ["after_recommend", "on_events"]
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    manager.register(Plugin())
    manager.hook.after_recommend(answers=[{"items": []}])
    manager.hook.on_events(events=())
    assert heard == [[{"items": []}], ()]


def test_a_hook_that_does_not_exist_is_refused() -> None:
    class Plugin:
        @hookimpl
        def register_retreivers(self) -> list[Component]:
            return []

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    manager.register(Plugin())
    with pytest.raises(pluggy.PluginValidationError, match="register_retreivers"):
        manager.check_pending()
