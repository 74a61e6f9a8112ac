"""Whether a step is being traced for compilation: then the plain formulas are used, which the compiler fuses."""

from collections.abc import Iterator
from contextlib import contextmanager

_depth: list[None] = []


class Untraceable(Exception):
    """A step is cut in pieces whose number depends on its size, or else not to be compiled."""


def is_tracing() -> bool:
    """Tell whether operations are recorded, not computed."""
    return bool(_depth)


@contextmanager
def tracing() -> Iterator[None]:
    """Record operations during the block."""
    _depth.append(None)
    try:
        yield
    finally:
        _depth.pop()
