"""Sweeps: variants of a study that differ from its reference in one number.

Which number it is comes from the manifest's `axes` (method -> {axis: point}) or else from the configs of the runs. A
study may hold several sweeps around one reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.io.methods import IMPORTED, REFERENCES, SYMBOLS, ordered
from analysis.io.rows import Results
from analysis.io.settings import ABSENT, IDENTITY, values
from moore.base.strict import dotted
from moore.studies.axes import FACTOR

FEWEST = 3  # values of a sweep; two are a comparison


@dataclass(frozen=True)
class Sweep:
    """One number and the methods that differ in nothing else."""

    key: str  # a dotted key of the config, or an axis
    values: Mapping[str, float]  # of methods, ascending
    reference: str  # a method
    factors: bool = False  # values are multiples of what each task has

    @property
    def name(self) -> str:
        """The last part of the key, as in the name of a file."""
        return self.key.rsplit(".", 1)[-1]

    @property
    def symbol(self) -> str:
        """What a figure calls it: the paper's letter where it has one."""
        return SYMBOLS.get(self.name, self.name)

    def text(self, method: str) -> str:
        """Write a method's value in words."""
        return f"{'×' if self.factors else ''}{self.values[method]:g}"  # noqa: RUF001


def sweeps(study: Results) -> list[Sweep]:
    """Find every number that at least `FEWEST` methods differ in and in nothing else, in the order of their names."""
    methods = [m for m in ordered(study.methods) if m not in REFERENCES and not m.endswith(IMPORTED)]
    settings = _settings(study, methods)
    if not settings:
        return []
    base = study.main if study.main in methods else methods[0]
    of_key: dict[str, dict[str, Any]] = {}
    for method, mine in settings.items():
        theirs = settings[base]
        differing = [key for key in {**mine, **theirs} if mine.get(key, ABSENT) != theirs.get(key, ABSENT)]
        if len(differing) == 1:
            (key,) = differing
            of_key.setdefault(key, {base: theirs.get(key, ABSENT)})[method] = mine.get(key, ABSENT)
    found = (_sweep(key, points, base) for key, points in sorted(of_key.items()))
    # a config's value that depends on the task is no number of the method
    return [s for s in found if s and (s.factors or all(len(values(study, method, s.key)) <= 1 for method in s.values))]


def _sweep(key: str, points: Mapping[str, Any], base: str) -> Sweep | None:
    """Return the points as numbers, or as factors (`x0.5`); None if they are neither or too few."""
    numbers = {method: float(point) for method, point in points.items() if type(point) in (int, float)}
    factors = {method: float(match[1]) for method, point in points.items() if (match := FACTOR.fullmatch(str(point)))}
    chosen = numbers if len(numbers) == len(points) else factors
    if len(chosen) < len(points) or len(set(chosen.values())) < FEWEST:
        return None
    return Sweep(key, dict(sorted(chosen.items(), key=lambda item: item[1])), base, chosen is factors)


def _settings(study: Results, methods: list[str]) -> dict[str, dict[str, Any]]:
    """Find what tells the methods apart: the study's axes if it names them for all, else configs of a shared run."""
    axes = study.manifest.get("axes", {})
    if set(methods) <= set(axes):
        return {method: dict(axes[method]) for method in methods}
    cells: dict[tuple[Any, Any], dict[str, Any]] = {}  # dataset and seed -> method -> config
    for method in methods:
        for config in study.configs.get(method, []):
            cells.setdefault((config.get("dataset"), config.get("seed")), {})[method] = config
    whole = next((cell for cell in cells.values() if len(cell) == len(methods)), {})
    return {
        name: {key: value for key, value in dotted(config).items() if key not in IDENTITY}
        for name, config in whole.items()
    }
