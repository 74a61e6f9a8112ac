"""A study's manifest in little space: one whole configuration, and of every run only what differs from it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moore.base.errors import UserError
from moore.base.strict import dotted, nested

Config = Mapping[str, Any]

WITHOUT = "-"  # in a run's differences: the dotted keys that it lacks


def pack(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Replace each full config in `configs` (by run) and `defaults` (by algorithm) by its differences from `config`.

    The differences have dotted keys. The base is `config`, or else the first of `configs`.
    """
    if "configs" not in manifest:
        return dict(manifest)
    config: Config = manifest.get("config") or next(iter(manifest["configs"].values()), {})
    return _replaced({**manifest, "config": config}, _difference)


def unpack(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Give everything in `configs` and `defaults` its full config back."""
    return _replaced(manifest, _restored)


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


def _replaced(manifest: Mapping[str, Any], change: Callable[[Config, Config], Config]) -> dict[str, Any]:
    base, changed = dotted(manifest.get("config") or {}), dict(manifest)
    for part in {"configs", "defaults"} & manifest.keys():
        changed[part] = {name: change(one, base) for name, one in manifest[part].items()}
    return changed


def _difference(config: Config, base: Config) -> Config:
    own = dotted(config)
    # as JSON, which tells 1, 1.0 and true apart
    changed = {
        key: value for key, value in own.items() if key not in base or json.dumps(base[key]) != json.dumps(value)
    }
    lacking = [key for key in base if key not in own]
    return {**changed, WITHOUT: lacking} if lacking else changed


def _restored(difference: Config, base: Config) -> Config:
    flat = {key: value for key, value in {**base, **difference}.items() if key not in difference.get(WITHOUT, ())}
    flat.pop(WITHOUT, None)
    return nested(flat)
