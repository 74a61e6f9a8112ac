"""The variants of a study: named changes to a base, or the product of axes; factors of what the base has."""

import functools
import itertools
import re
from collections.abc import Mapping
from typing import Any

from moore.base.errors import UserError
from moore.base.strict import dotted, nested

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
        names, on_axes, points, changes = zip(*chosen, strict=True)
        variants["-".join(names)] = functools.reduce(merge, changes)
        points_of["-".join(names)] = dict(zip(on_axes, points, strict=True))
    return variants, points_of


def multiplied(changes: Mapping[str, Any], base: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the changes with every factor (`x0.5`) replaced by so many times the base's value; integers are rounded.

    UserError names the key where the base has no number, or where the product would be rounded to nothing.
    """
    out, old = dotted(changes), dotted(base)
    for key, value in out.items():
        factor = FACTOR.fullmatch(value) if isinstance(value, str) else None
        if factor is None or key not in old:  # an unknown key is refused with the rest
            continue
        number = old.get(key)
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise UserError(f"{where}: {key}: {value} of {number!r}; a factor needs a number in the base")
        product = number * float(factor[1])
        out[key] = round(product) if isinstance(number, int) else product
        if product and not out[key]:
            raise UserError(f"{where}: {key}: {value} of {number} is less than one; expected a larger factor")
    return nested(out)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _text(value: Any) -> str:
    """Write a value as part of a name: no `+`, and as many digits as tell it from others."""
    if not isinstance(value, float):
        return str(value).lower()
    return (f"{value:g}" if float(f"{value:g}") == value else repr(value)).replace("+", "")
