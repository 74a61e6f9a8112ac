"""Checkpoint files: damage is noticed, the last two are kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.run.checkpoints import Checkpoints
from moore.run.sealed import Damaged, load, save
from tests.support.harm import flip

STATE: dict[str, Any] = {"x": torch.arange(1000.0), "n": 3, "none": None, "deep": [{"flag": True, "text": "µ"}]}


def same(state: dict[str, Any]) -> bool:
    """Whether it is STATE."""
    rest = {key: value for key, value in STATE.items() if key != "x"}
    return torch.equal(state["x"], STATE["x"]) and {key: state[key] for key in rest} == rest


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "a.pt"
    save(path, STATE)
    return path.read_bytes()


@settings(max_examples=150, deadline=None)
@given(draw=st.data())
def test_damage_is_noticed(draw: st.DataObject, saved: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Breaks if a bit that changes, or bytes that are lost or added, give another state without notice."""
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    at = draw.draw(st.integers(0, len(saved) - 1))
    more = draw.draw(st.binary(min_size=1, max_size=50))
    flipped = bytes([saved[at] ^ 1 << draw.draw(st.integers(0, 7))])
    hole = bytes(len(saved[at : at + 600]))  # what a file system may leave after a power cut
    rests = [flipped + saved[at + 1 :], b"", more + saved[at:], saved[at:] + more, hole + saved[at + 600 :]]
    path.write_bytes(saved[:at] + draw.draw(st.sampled_from(rests)))
    try:
        state = load(path)
    except Damaged:
        return
    assert same(state)  # a byte that means nothing, such as the time of the archive


def make(folder: Path, saves: int = 0) -> tuple[Checkpoints, list[str]]:
    """Checkpoints in a folder, of which so many have been saved, and what they tell."""
    told: list[str] = []
    checkpoints = Checkpoints(folder, "cpu", told.append)
    for step in range(saves):
        checkpoints.save({"step": step})
    return checkpoints, told


def anything(state: dict[str, Any]) -> None:
    """Find nothing wrong with a state."""


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    make(tmp_path / "a", 5)
    assert {path.name: load(path) for path in (tmp_path / "a").iterdir()} == {"3.pt": {"step": 3}, "4.pt": {"step": 4}}
    again, told = make(tmp_path / "a")
    assert again.load(anything) == {"step": 4}
    assert told == []
    again.remove()
    assert not list(tmp_path.iterdir())
    assert again.load(anything) is None


@pytest.mark.parametrize("reason", ["its content is not what was written", "its rows are lost"])
def test_the_one_before_is_taken_where_the_newest_is_damaged_or_does_not_fit(reason: str, tmp_path: Path) -> None:
    """Breaks if nobody is told, or the rejected one is taken later."""
    make(tmp_path, 3)
    if "content" in reason:
        flip(tmp_path / "2.pt", 4321)

    def check(state: dict[str, Any]) -> None:
        if state["step"] == 2:
            raise Damaged(reason)

    checkpoints, told = make(tmp_path)
    assert checkpoints.load(check) == {"step": 1}
    assert told == [f"{tmp_path / '2.pt'}: {reason}; goes on from the checkpoint before, 1.pt"]
    assert [path.name for path in tmp_path.iterdir()] == ["1.pt"]
    checkpoints.save({"step": 99})
    assert {path.name: load(path) for path in tmp_path.iterdir()} == {"1.pt": {"step": 1}, "2.pt": {"step": 99}}


def test_what_may_be_read_later_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a moment's lack of permission (no superuser has one) costs the stage."""
    checkpoints, _ = make(tmp_path, 1)

    def refuse(self: Path, mode: str) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"0\.pt: cannot be read"):
        checkpoints.load(anything)
    assert (tmp_path / "0.pt").exists()
