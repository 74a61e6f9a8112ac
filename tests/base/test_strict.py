"""The strict YAML loader: what it takes, and one line for what it does not."""

from pathlib import Path

import pytest
from pydantic.dataclasses import dataclass

from moore.base.errors import UserError
from moore.base.strict import FORBID, Count, NonNegative, Share, dotted, load_yaml, nested


@dataclass(frozen=True, config=FORBID)
class Inner:
    lr: NonNegative = 1e-3
    hidden: tuple[Count, ...] = (4,)


@dataclass(frozen=True, config=FORBID)
class File:
    name: str
    inner: Inner | None = None
    share: Share = 0.5
    methods: dict[str, Inner] | None = None


def test_numbers_and_lists(tmp_path: Path) -> None:
    """Breaks if 3e-4 is text, an integer is no float, or a list no tuple."""
    path = tmp_path / "a.yaml"
    path.write_text("name: é\nshare: 1\ninner: {lr: 3e-4, hidden: [1, 2]}\n", encoding="utf-8")
    loaded = load_yaml(path, File)
    assert (loaded.name, loaded.share) == ("é", 1.0)
    assert loaded.inner == Inner(3e-4, (1, 2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nsahre: 1", ["sahre", "share", "name, inner"]),
        ("name: a\ninner: {lrr: 1}", ["inner.lrr", "lr, hidden"]),
        ("name: a\nmethods: {sac: {lrr: 1}}", ["methods.sac.lrr", "lr, hidden"]),
        ("name: a\ninner: {hidden: [1, 0]}", ["inner.hidden[1]", "0"]),
        ("name: a\nshare: true", ["share", "True"]),
        ("name: a\nshare: '0.5'", ["share", "'0.5'"]),
        ("name: a\nshare: .nan", ["share", "nan"]),
        ("name: 3", ["name", "3", "string"]),
        ("share: 1", ["name", "missing"]),
        ("name: a\ninner: 3", ["inner", "a mapping"]),
        ("name: a\ninner: {hidden: 3}", ["inner.hidden", "a list"]),
        ("name: a\n\tshare: 1", ["line 2", "\\t"]),
        ("name: a\nshare: 1\nshare: 0", ["duplicate key 'share'", "line"]),
        ("name: a\ninner:\n  lr: 1\n  lr: 2", ["duplicate key 'lr'", "line 3"]),
        ("name: [", ["line"]),
        ("- a", ["list at the top"]),
        ("1: a", ["mapping"]),
        ("share: 2026-01-01\nname: a", ["share", "'2026-01-01'"]),
        ("name: a\nshare: !!set {b}", ["share", "number"]),
        ("? [a]\n: b", ["line 1"]),
        ("nmae: a", ["nmae: unknown key; did you mean 'name'?"]),
        ("", ["name: missing", "name, inner"]),
    ],
)
def test_bad_input_is_one_line_with_file_and_key(tmp_path: Path, text: str, said: list[str]) -> None:
    """Breaks if something wrong is taken, or the message names no file, key or what is accepted."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_yaml(path, File)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert all(word in message for word in said), message


def test_other_bytes_and_no_file(tmp_path: Path) -> None:
    """Breaks if a file that is not UTF-8, or not there, ends in a traceback."""
    for name, said in (("latin-1", "not UTF-8"), ("utf-16", "not UTF-8"), ("none", "cannot be read")):
        if name != "none":
            (tmp_path / name).write_bytes("name: é".encode(name))
        with pytest.raises(UserError, match=f"{name}: .*{said}"):
            load_yaml(tmp_path / name, File)


def test_dotted_and_nested_are_inverse() -> None:
    """Breaks if a level is lost."""
    values = {"a": {"b": {"c": 1}, "d": []}, "e": None, "f": {}}
    assert nested(dotted(values)) == values
