"""Checkpoint files: damage is noticed, the last two are kept, D_model is written once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.algorithm.replay import ModelBuffer
from moore.base.errors import UserError
from moore.networks.batch import Batch
from moore.run import sealed
from moore.run.checkpoints import Checkpoints
from moore.run.sealed import SEAL, Damaged, load, save
from tests.support.harm import flip, no_room

STATE: dict[str, Any] = {"x": torch.arange(1000.0), "n": 3, "none": None, "deep": [{"flag": True, "text": "µ"}]}


def same(state: dict[str, Any]) -> bool:
    """Whether it is STATE."""
    rest = {key: value for key, value in STATE.items() if key != "x"}
    return torch.equal(state["x"], STATE["x"]) and {key: state[key] for key in rest} == rest


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.pt"
    save(path, STATE)
    assert same(load(path))
    assert same(torch.load(path, weights_only=True))  # torch does not mind what stands behind its own content
    save(path, {"other": 1})
    assert load(path) == {"other": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["a.pt"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "a.pt"
    save(path, STATE)
    return path.read_bytes()


@settings(max_examples=150, deadline=None)
@given(draw=st.data())
def test_damage_is_noticed(draw: st.DataObject, saved: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Breaks if a bit can change, or bytes be lost or added, without notice."""
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(saved)
    match draw.draw(st.sampled_from(["flip", "cut", "insert", "longer", "hole"])):
        case "flip":
            flip(path, draw.draw(st.integers(0, 8 * len(saved) - 1)))
        case "cut":
            path.write_bytes(saved[: draw.draw(st.integers(0, len(saved) - 1))])
        case "insert":
            path.write_bytes(saved[: -SEAL.size] + draw.draw(st.binary(min_size=1, max_size=9)) + saved[-SEAL.size :])
        case "longer":
            path.write_bytes(saved + draw.draw(st.binary(min_size=1, max_size=50)))
        case "hole":  # what a file system may leave after a power cut
            first = draw.draw(st.integers(0, len(saved) - 600))
            path.write_bytes(saved[:first] + bytes(600) + saved[first + 600 :])
    with pytest.raises((Damaged, UserError)) as error:
        load(path)
    assert isinstance(error.value, Damaged) or "has format" in str(error.value)  # a flip in the number of the format


def test_no_room_and_no_right(tmp_path: Path) -> None:
    """Breaks if a full disk costs the old file, leaves half of the new one, or ends in torch's words."""
    path = tmp_path / "a.pt"
    save(path, {"old": 1})
    with no_room(3000), pytest.raises(UserError, match=r"a\.pt: cannot be written \(File too large\)") as error:
        save(path, STATE)
    assert "the same command goes on" in str(error.value)
    assert load(path) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pt"]
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"taken/b\.pt: cannot be written \(File exists\)"):
        save(tmp_path / "taken" / "b.pt", STATE)


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


def test_both_damaged(tmp_path: Path) -> None:
    make(tmp_path / "a", 2)
    flip(tmp_path / "a" / "0.pt", 999)
    (tmp_path / "a" / "1.pt").write_bytes(b"half")
    checkpoints, told = make(tmp_path / "a")
    assert checkpoints.load(anything) is None
    (text,) = told
    assert text.count("; ") == 2
    assert text.endswith("that stage starts again")
    assert not list(tmp_path.iterdir())
    checkpoints.save({"step": 0})
    assert checkpoints.load(anything) == {"step": 0}


@pytest.mark.parametrize("reason", ["has format 2, this version of moore reads 1", "cannot be read"])
def test_what_may_be_read_later_is_no_damage(reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if another version's work, or a moment's lack of permission (no superuser has one), costs the stage."""
    monkeypatch.setattr(sealed, "FORMAT", 2 if "format" in reason else 1)
    checkpoints, _ = make(tmp_path, 1)
    monkeypatch.undo()

    def refuse(self: Path, mode: str) -> Any:
        raise PermissionError(13, "Permission denied")

    if "format" not in reason:
        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=rf"0\.pt: {reason}"):
        checkpoints.load(anything)
    assert (tmp_path / "0.pt").exists()


def with_rows(buffer: ModelBuffer) -> dict[str, Any]:
    """A state with this D_model."""
    return {"cohort": {"model_buffer": {"rows": buffer.rows, "written": buffer.written}}}


def append(buffer: ModelBuffer, values: torch.Tensor, valid: torch.Tensor) -> None:
    """Add transitions [R, B] that consist of these values."""
    column = values[..., None]
    buffer.append(Batch(column, column, values, column, values), valid)


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_imagined_rows(draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Breaks if D_model comes back otherwise from any of the last two checkpoints, or a row is written twice."""
    runs, capacity = draw.draw(st.integers(1, 3)), draw.draw(st.integers(0, 12))
    folder = tmp_path_factory.mktemp("rows")
    buffer, (checkpoints, _) = ModelBuffer(runs, capacity, 1, 1), make(folder)
    value, number, before = 0, 0, [0] * runs
    kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for _ in range(draw.draw(st.integers(1, 12))):
        if capacity and draw.draw(st.booleans()):
            size = draw.draw(st.integers(1, capacity))
            valid = torch.tensor(draw.draw(st.lists(st.booleans(), min_size=runs * size, max_size=runs * size)))
            values = torch.arange(value, value + runs * size, dtype=torch.float32).view(runs, size)
            append(buffer, values, valid.view(runs, size))
            value += runs * size
            continue
        checkpoints.save(copy.deepcopy(with_rows(buffer)))
        written = folder / f"{number}.rows"
        news = [min(n - m, capacity) for n, m in zip(buffer.written.tolist(), before, strict=True)]
        assert written.exists() == any(news)
        if any(news):
            assert [len(new) for new in load(written)["new"]] == news
        kept[number], before = (buffer.rows.clone(), buffer.written.clone()), buffer.written.tolist()
        number += 1
    numbers = sorted(kept)[-2:]
    needed = {n for last in numbers for n in load(folder / f"{last}.pt")["cohort"]["model_buffer"]["files"]}
    assert {path.name for path in folder.iterdir()} == {*(f"{n}.pt" for n in numbers), *(f"{n}.rows" for n in needed)}
    for last in reversed(numbers):
        again, _ = make(folder)
        state = again.load(anything)
        assert state is not None
        assert torch.equal(state["cohort"]["model_buffer"]["rows"], kept[last][0])
        assert torch.equal(state["cohort"]["model_buffer"]["written"], kept[last][1])
        (folder / f"{last}.pt").unlink()
    if numbers and capacity and state:  # the older one is gone on with
        buffer = ModelBuffer(runs, capacity, 1, 1)
        buffer.load(state["cohort"]["model_buffer"])
        append(buffer, torch.full((runs, 1), -1.0), torch.ones(runs, 1, dtype=torch.bool))
        again.save(copy.deepcopy(with_rows(buffer)))
        state = make(folder)[0].load(anything)
        assert state is not None
        assert torch.equal(state["cohort"]["model_buffer"]["rows"], buffer.rows)


@pytest.mark.parametrize("harm", ["flip", "lose", "of another checkpoint"])
def test_damaged_rows_are_damage_of_the_checkpoint(harm: str, tmp_path: Path) -> None:
    """Breaks if a damaged D_model is loaded. Both checkpoints may need the same file: each row is written once."""
    (checkpoints, told), buffer = make(tmp_path), ModelBuffer(2, 6, 1, 1)
    for step in range(9):
        append(buffer, torch.full((2, 3), float(step)), torch.ones(2, 3, dtype=torch.bool))
        checkpoints.save(with_rows(buffer))
        assert len(list(tmp_path.glob("*.rows"))) <= 3
    path = tmp_path / "8.rows"
    if harm == "flip":
        flip(path, 123)
    elif harm == "lose":
        path.unlink()
    else:
        save(path, load(path) | {"upto": [26, 27]})
    state = checkpoints.load(anything)
    assert state is not None
    assert state["cohort"]["model_buffer"]["written"].tolist() == [24, 24]  # the checkpoint before
    assert state["cohort"]["model_buffer"]["rows"][:, :, 0].tolist() == 2 * [[6.0] * 3 + [7.0] * 3]
    (text,) = told
    assert f"8.pt: needs {path}, but" in text
