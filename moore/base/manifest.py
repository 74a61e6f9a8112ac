"""A study's manifest in little space: one whole configuration, and of every run only what differs from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moore.base.errors import UserError

WITHOUT = "-"  # in a run's differences: the dotted keys that it lacks
PACKED = ("configs", "defaults")  # full configs by run, and by algorithm


def pack(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Replace each full config in `configs` and `defaults` by its differences from `config`, as dotted keys.

    The base is `config`, or else the first of `configs`. Raises ValueError for a key with a dot in it or named "-".
    """
    if "configs" not in manifest:
        return dict(manifest)
    config: Mapping[str, Any] = manifest.get("config") or next(iter(manifest["configs"].values()), {})
    base, packed = _flat(config), {**manifest, "config": config}
    for part in PACKED:
        if part in manifest:
            packed[part] = {name: _difference(_flat(one), base) for name, one in manifest[part].items()}
    return packed


def unpack(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Give everything in `configs` and `defaults` its full config back."""
    if "configs" not in manifest:
        return dict(manifest)
    base, unpacked = _flat(manifest.get("config") or {}), dict(manifest)
    for part in PACKED:
        if part in manifest:
            unpacked[part] = {name: _restored(one, base) for name, one in manifest[part].items()}
    return unpacked


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a study's manifest.json with the full config of every run. Raises UserError naming the file."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); accepted: a study's manifest") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(manifest, dict):
        raise UserError(f"{path}: {type(manifest).__name__} at the top; accepted: a JSON object")
    return unpack(manifest)


def _difference(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    changed = {key: value for key, value in config.items() if key not in base or not _same(base[key], value)}
    lacking = [key for key in base if key not in config]
    return {**changed, WITHOUT: lacking} if lacking else changed


def _restored(difference: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in base.items() if key not in difference.get(WITHOUT, ())}
    return _nested(kept | {key: value for key, value in difference.items() if key != WITHOUT})


def _same(one: Any, other: Any) -> bool:
    """Equality that tells 1, 1.0 and true apart, also inside lists."""
    return json.dumps(one) == json.dumps(other)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if "." in key or key == WITHOUT:
            raise ValueError(f"{prefix}{key}: a key of a configuration has no dot and is not {WITHOUT!r}")
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return nested
