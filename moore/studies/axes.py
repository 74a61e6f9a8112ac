"""The variants of a study: named changes to a base, or the product of axes; factors of what the base has."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from moore.base.errors import UserError
from moore.base.strict import nested

FACTOR = re.compile(r"x(\d+(?:\.\d+)?)")


def expand(axes: Mapping[str, Any], where: str) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Variant names -> changes, and variant names -> {axis: point}, for the product of the axes.

    An axis is a dotted config key with a list of values (`sampling.decay_rate: [0.5, 1]`; its variants are called
    `decay_rate-0.5` and `decay_rate-1`), or a name with a mapping of points to changes. UserError names the axis.
    """
    if not axes:
        raise UserError(f"{where}: axes: is empty; expected at least one key with a list of values")
    lists = []
    for axis, points in axes.items():
        if isinstance(points, list) and points and not any(isinstance(value, list | dict) for value in points):
            label = axis.rsplit(".", 1)[-1]
            named = {f"{label}-{_text(value)}": (value, nested({axis: value})) for value in points}
            if len(named) != len(points):
                raise UserError(f"{where}: axes.{axis}: a value occurs twice; expected different ones")
        elif isinstance(points, dict) and points and all(isinstance(p, dict | None) for p in points.values()):
            named = {str(name): (name, changes or {}) for name, changes in points.items()}
        else:
            raise UserError(
                f"{where}: axes.{axis}: expected a non-empty list of values, or a mapping of names to changes"
            )
        lists.append([(name, axis, point, changes) for name, (point, changes) in named.items()])
    variants: dict[str, dict[str, Any]] = {}
    points_of: dict[str, dict[str, Any]] = {}
    for chosen in itertools.product(*lists):
        name = "-".join(part[0] for part in chosen)
        changes: dict[str, Any] = {}
        for _, _, _, part in chosen:
            changes = merge(changes, part)
        variants[name], points_of[name] = changes, {axis: point for _, axis, point, _ in chosen}
    return variants, points_of


def multiplied(changes: Mapping[str, Any], base: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """Return the changes with every factor (`x0.5`) replaced by so many times the base's value; integers are rounded.

    UserError names the key where the base has no number, or where the product would be rounded to nothing.
    """
    out: dict[str, Any] = {}
    for key, value in changes.items():
        old = base.get(key)
        if isinstance(value, Mapping):
            out[key] = multiplied(value, old if isinstance(old, Mapping) else {}, where, f"{prefix}{key}.")
        elif isinstance(value, str) and (match := FACTOR.fullmatch(value)):
            if not isinstance(old, int | float) or isinstance(old, bool):
                raise UserError(f"{where}: {prefix}{key}: {value} of {old!r}; a factor needs a number in the base")
            product = old * float(match[1])
            out[key] = round(product) if isinstance(old, int) else product
            if old and not out[key] and float(match[1]):
                raise UserError(f"{where}: {prefix}{key}: {value} of {old} is less than one; expected a larger factor")
        else:
            out[key] = value
    return out


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
