"""Start a benchmark in the conditions of a unit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import tyro

from moore.base.errors import UserError
from moore.run.units import KEEP_MEMORY


def run(main: Callable[..., Any], module: str) -> None:
    """Call main with the command line's options, where memory is kept as in a unit; bad input ends with its code."""
    if not KEEP_MEMORY.items() <= os.environ.items():  # read when a process starts
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], os.environ | KEEP_MEMORY)
    try:
        tyro.cli(main)
    except UserError as error:
        print(f"moore: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
