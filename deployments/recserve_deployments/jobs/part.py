"""Computation of one part in a worker process, which is all that runs there."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import ray

from recserve.data.system.cpus import step_back
from recserve.errors import RuntimeEnvironmentError
from recserve_deployments.jobs.failures import first_line

_KEPT = 4
"""Shared values that a worker process keeps unpacked."""


def name_of(function: Callable[..., Any]) -> str:
    """The name by which another process finds a function, such as ``recserve_mf.solver:solve_block``.

    Raises:
        TypeError: It cannot be found by a name.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    try:
        found = _found(name)
    except (ImportError, AttributeError):
        found = None
    if found is not function:
        raise TypeError(f"{name} cannot be named to another process: use a function of a module")
    return name


def called(name: str, arguments: Sequence[Any]) -> Any:
    """Call a function of an installed module, with references in place of the values that are shared.

    Raises:
        RuntimeEnvironmentError: A plugin that is needed is not installed here.
        Exception: What the function raises.
    """
    step_back()
    try:
        function = _found(name)
        values = [_resolved(argument) for argument in arguments]
    except (ImportError, AttributeError, ray.exceptions.RaySystemError) as error:
        wanted, node = name.replace(":", "."), ray.util.get_node_ip_address()
        raise RuntimeEnvironmentError(
            f"node {node} cannot run {wanted} ({first_line(error)}); "
            "install the same distributions on every node"
        ) from None
    return function(*values)


def _found(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for step in path.split("."):
        found = getattr(found, step)
    return found


def _resolved(argument: Any) -> Any:
    """A value in place of a reference, also in a tuple."""
    if isinstance(argument, ray.ObjectRef):
        return _unpacked(argument)
    if isinstance(argument, tuple) and any(isinstance(entry, ray.ObjectRef) for entry in argument):
        return tuple(_unpacked(entry) if isinstance(entry, ray.ObjectRef) else entry for entry in argument)
    return argument


_values: OrderedDict[str, Any] = OrderedDict()


def _unpacked(reference: Any) -> Any:
    """A shared value. Its arrays are the node's; what else it holds is unpacked once, not for each part."""
    key = reference.hex()
    if key in _values:
        _values.move_to_end(key)
        return _values[key]
    value = ray.get(reference)
    _values[key] = value
    while len(_values) > _KEPT:
        _values.popitem(last=False)
    return value
