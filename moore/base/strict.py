"""One strict way to read a user's YAML: UTF-8, no duplicate or unknown keys, right types; each error is one line."""

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from moore.base.errors import UserError

T = TypeVar("T")

UNKNOWN_KEY = "unexpected_keyword_argument"  # pydantic's name for it in dataclasses
FORBID = ConfigDict(extra="forbid")  # of every settings class: an unknown key is an error

# ranges of settings, for their annotations
Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


# marks: what a setting is for
ONLINE_ONLY, MODEL_ONLY = "online only", "model only"
OnlineOnly = Annotated[T, ONLINE_ONLY]  # the offline stage does not depend on it
ModelOnly = Annotated[T, MODEL_ONLY]  # read by algorithms with a dynamics model


class _Loader(yaml.SafeLoader):
    """SafeLoader without duplicate keys; numbers as in YAML 1.2: 3e-4 is one, 1:30, 010 and 2026-01-31 are texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        keys = [self.construct_object(key) for key in scalars if key.tag != f"{TAG}merge"]  # <<: lays others below
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(problem=f"duplicate key {key!r}", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag not in (f"{TAG}int", f"{TAG}timestamp")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{TAG}int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{TAG}float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file, a mapping with texts as keys, or nothing. Raises UserError naming the file and the line."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{path}: cannot be read ({reason}); accepted: a YAML file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{path}: {where}{problem}; accepted: YAML") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path}: {type(values).__name__} at the top; accepted: a mapping of named keys")
    return values


def load_yaml(path: Path, kind: type[T]) -> T:
    """Read a YAML file as `kind`, a pydantic dataclass. Raises UserError naming the file and the key."""
    return validate(read_yaml(path), kind, str(path))


def validate(values: Any, kind: type[T] | Any, where: str = "", prefix: str = "") -> T:
    """Check plain values (as YAML gives them) against `kind` and return it.

    Types are strict: no text for a number, no 1 for true; an integer is a float, a list is a tuple. Raises UserError
    `where: key: ...` for the first error, naming the value and what is accepted. prefix: in front of every key.
    """
    where = where and f"{where}: "
    try:
        text = json.dumps(values, default=str)
    except (ValueError, RecursionError):
        raise UserError(f"{where}a value holds itself; accepted: an alias of something else") from None
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except UserError as error:  # from a check over several fields
        raise UserError(f"{where}{prefix}{error}") from None
    except ValidationError as error:
        raise UserError(f"{where}{_sentence(error.errors(include_url=False), kind, prefix)}") from None


def choose(key: str, value: Any, accepted: Iterable[str]) -> str:
    """Return value if it is one of the accepted words; raises UserError with the nearest one if not."""
    words = list(accepted)
    if value not in words:
        raise UserError(f"{key}: {value!r} is not accepted; {nearest(value, words)}accepted: {', '.join(words)}")
    return str(value)


def nearest(word: Any, words: Sequence[str]) -> str:
    """Return "did you mean ...? " for the word nearest to a misspelt one, or nothing."""
    close = difflib.get_close_matches(str(word), words, 1)
    return f"did you mean {close[0]!r}? " if close else ""


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings: `{"a": {"b": 1}}` -> `{"a.b": 1}`; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping) and value
        flat |= dotted(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `dotted`."""
    out: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        inside = out
        for part in parents:
            inside = inside.setdefault(part, {})
        inside[last] = value
    return out


def marks_of(kind: Any, prefix: str = "", inherited: frozenset[str] = frozenset()) -> dict[str, frozenset[str]]:
    """Return the marks of every setting below a settings class by dotted key; a section's hold for what is in it."""
    marks: dict[str, frozenset[str]] = {}
    for name, field in kind.__pydantic_fields__.items():
        own = inherited | {mark for mark in field.metadata if mark in (ONLINE_ONLY, MODEL_ONLY)}
        inner = dataclasses.is_dataclass(field.annotation)
        marks |= marks_of(field.annotation, f"{prefix}{name}.", own) if inner else {prefix + name: own}
    return marks


def _sentence(errors: Sequence[Any], kind: Any, prefix: str) -> str:
    """Describe one of pydantic's errors; an unknown key comes first: what is missing may be its right spelling."""
    first = min(errors, key=lambda error: error["type"] != UNKNOWN_KEY)
    parts = [part for part in first["loc"] if not str(part).startswith("function-")]
    key = prefix + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
    if first["type"] == UNKNOWN_KEY:
        fields = _fields(kind, parts[:-1])
        return f"{key}: unknown key; {nearest(parts[-1], fields)}accepted: {', '.join(fields)}"
    if first["type"] == "missing":
        return f"{key}: missing; expected keys: {', '.join(_fields(kind, parts[:-1]))}"
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    expected = expected.replace("a valid array", "a list").replace("an object", "a mapping")  # JSON's words to YAML's
    return f"{key or 'the file'}: {first['input']!r} is not accepted; expected {expected}"


def _fields(kind: Any, parts: Sequence[int | str]) -> list[str]:
    """Return the keys that `kind` accepts at a path inside it: none where that is no settings class."""
    fields: dict[str, Any] | None = getattr(kind, "__pydantic_fields__", None)
    if fields is not None:
        return _fields(fields[str(parts[0])].annotation, parts[1:]) if parts else list(fields)
    is_inside = typing.get_origin(kind) not in (Annotated, typing.Union, types.UnionType)  # a list or a mapping
    options = typing.get_args(kind)
    return next(filter(None, (_fields(option, parts[1:] if is_inside else parts) for option in options)), [])
