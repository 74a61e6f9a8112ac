"""Things from outside the repository, named `package.module:name` wherever a study names one of ours."""

import hashlib
import os
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from moore.base.errors import UserError
from moore.base.strict import nearest

T = TypeVar("T")


def is_plugin(name: str) -> bool:
    """Tell `package.module:name` from the name of one of ours."""
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), attribute))


def find(name: str, ours: Mapping[str, T], key: str) -> T:
    """Return one of ours by its name, or import `package.module:name`; the working directory is searched, too.

    Raises UserError naming the key, the name and what is accepted.
    """
    if name in ours:
        return ours[name]
    if not is_plugin(name):
        accepted = f"{nearest(name, list(ours))}accepted: {', '.join(ours)}, or package.module:name"
        raise UserError(f"{key}: {name!r} is not accepted; {accepted}")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last: it replaces nothing of ours or of what is installed
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise UserError(f"{key}: {name!r} cannot be imported ({error}); accepted: package.module:name") from None


def source_hash(name: str) -> str:
    """Hash the source file of a plugin's module: sha256, 16 hexadecimal digits. Raises UserError as `find` does."""
    find(name, {}, "plugin")
    file = sys.modules[name.partition(":")[0]].__file__
    return hashlib.sha256(Path(file).read_bytes() if file else b"").hexdigest()[:16]
