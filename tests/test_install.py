"""What installs this: one list of versions, the Makefile's environment, and the command outside the checkout."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

from moore.cli import doctor
from moore.run import facts

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
    needed = {Requirement(one).name for one in PROJECT["project"]["dependencies"]}
    assert {*facts.PACKAGES, *doctor.PACKAGES} <= needed  # a manifest states their versions: without one no run ends
    installed = {one.metadata["Name"].lower().replace("_", "-") for one in importlib.metadata.distributions()}
    for name in pinned.keys() & installed:  # by name: setuptools, once imported, puts copies of its own on the path
        assert importlib.metadata.version(name) in pinned[name].specifier, name


def test_make_names_a_folder_with_a_space() -> None:
    """Breaks if make splits the path at its space and goes on with half of it."""
    # not as a part of `make test`: a make inside a make prints where it goes
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for where in ({"VIRTUAL_ENV": "/tmp/my env"}, {"VENV": "/tmp/my env"}):
        done = subprocess.run(["make", "-n", "setup"], cwd=ROOT, env=outside | where, capture_output=True, text=True)
        assert done.returncode == 2
        assert "/tmp/my env: make takes no path with a space; accepted: VENV=FOLDER without one" in done.stderr
        assert done.stdout == ""


def test_a_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    """Breaks if a package, a study, a scale, a method's settings or published rows are only in the checkout."""
    code, site, here = tmp_path / "code", tmp_path / "site", tmp_path / "elsewhere"
    here.mkdir()
    for name in ("moore", "analysis", "slurm", "ablations"):
        shutil.copytree(ROOT / name, code / name)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, code)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=code, check=True, capture_output=True)
    (wheel,) = code.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    shutil.rmtree(code)
    env = os.environ | {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}

    def call(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], cwd=here, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    moore = ("-m", "moore.cli.main")
    assert str(site) in call("-c", "import moore, slurm, analysis; print(moore.__file__)")
    assert "reproduce" in call(*moore, "--help")
    assert "agent.hidden" in call(*moore, "config", "iql", "--scale", "laptop")
    assert "runs" in call(*moore, "study", "status", "sampling", "--json")
    rows = "from analysis.output.summary import published_rows; print(published_rows('sampling-mini').main)"
    assert call("-c", rows) == "prioritized\n"
