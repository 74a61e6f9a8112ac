"""What installs this: one list of versions, the Makefile's environment, and the command outside the checkout."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = [Requirement(pin) for pin in PROJECT["tool"]["uv"]["constraint-dependencies"]]


def test_versions_are_pinned_and_installed() -> None:
    """Breaks if a requirement has no pin, a pin is not exact, or another version is installed here."""
    pinned = {pin.name: pin for pin in PINS if pin.marker is None or pin.marker.evaluate()}
    assert all(len(pin.specifier) == 1 and next(iter(pin.specifier)).operator == "==" for pin in PINS)
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked = [Requirement(one) for one in (*PROJECT["project"]["dependencies"], *chain(*extras))]
    here = [one for one in asked if one.name != "moore" and (one.marker is None or one.marker.evaluate())]
    assert {one.name.lower() for one in here} <= set(pinned)
    for one in importlib.metadata.distributions():
        name = one.metadata["Name"].lower().replace("_", "-")
        assert name not in pinned or one.version in pinned[name].specifier, name


def test_make_names_a_folder_with_a_space() -> None:
    """Breaks if make splits the path at its space and goes on with half of it."""
    for where in ({"VIRTUAL_ENV": "/tmp/my env"}, {"VENV": "/tmp/my env"}):
        done = subprocess.run(["make", "-n", "setup"], cwd=ROOT, env=os.environ | where, capture_output=True, text=True)
        assert done.returncode == 2
        assert "/tmp/my env: make takes no path with a space; accepted: VENV=FOLDER without one" in done.stderr
        assert done.stdout == ""
