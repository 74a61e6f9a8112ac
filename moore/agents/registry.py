"""The learning algorithms by name: a file in this folder registers what it defines, and nothing else lists it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from moore.base.plugins import find

if TYPE_CHECKING:
    from moore.agents.actor_critic import Agent

A = TypeVar("A", bound="type[Agent]")
METHODS = Path(__file__).parent / "methods.yaml"  # every method once: an algorithm and its settings
_AGENTS: dict[str, type[Agent]] = {}


def register(name: str) -> Callable[[A], A]:
    """Make an agent class available as `algorithm: name`; its settings are its `Config`."""

    def add(agent: A) -> A:
        assert name not in _AGENTS, f"two algorithms are called {name}"
        _AGENTS[name] = agent
        return agent

    return add


@cache
def agents() -> dict[str, type[Agent]]:
    """Import every file of this folder and return what they registered."""
    folder = importlib.import_module("moore.agents")
    for module in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f"moore.agents.{module.name}")
    return _AGENTS


def find_agent(algorithm: str) -> type[Agent]:
    """Return the agent class of an algorithm, one of ours or `package.module:name`. Raises UserError for another."""
    return find(algorithm, agents(), "algorithm")
