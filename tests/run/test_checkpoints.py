"""Checkpoint files: whole or not there, damage is noticed, the last two are kept, D_model is written once."""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.algorithm.replay import ModelBuffer
from moore.base.errors import UserError
from moore.base.files import replacing
from moore.networks.batch import Batch
from moore.run import sealed
from moore.run.checkpoints import Checkpoints, ImaginedRows
from moore.run.sealed import SEAL, Damaged, load, read_seal, save
from tests.support.harm import flip, no_room

STATE: dict[str, Any] = {"x": torch.arange(1000.0), "n": 3, "none": None, "deep": [{"flag": True, "text": "µ"}]}


def same(state: dict[str, Any]) -> bool:
    """Whether it is STATE."""
    rest = {key: value for key, value in STATE.items() if key != "x"}
    return torch.equal(state["x"], STATE["x"]) and {key: state[key] for key in rest} == rest


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.pt"
    save(path, STATE, number=7)
    assert same(load(path))
    assert read_seal(path).number == 7
    assert same(torch.load(path, weights_only=True))  # torch does not mind what stands behind its own content
    save(path, {"other": 1}, number=8)
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


def test_another_format_is_refused_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the work of another version is taken for damage and begun anew."""
    path = tmp_path / "a.pt"
    monkeypatch.setattr(sealed, "FORMAT", sealed.FORMAT + 1)
    save(path, STATE)
    monkeypatch.undo()
    with pytest.raises(UserError, match=rf"a\.pt: has format {sealed.FORMAT + 1}, this version of moore reads"):
        Checkpoints(path, "cpu", print).load(lambda state: None)
    assert path.exists()


def test_content_and_name_reach_the_disk_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a power cut could leave a name without its content, or half a file under the name."""
    path, events = tmp_path / "a.pt", list[str]()
    fsync, replace = os.fsync, os.replace

    def spied_fsync(descriptor: int) -> None:
        events.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def spied_replace(source: Path, target: Path) -> None:
        events.append(f"rename {Path(source).name} to {Path(target).name}")
        assert len(Path(source).read_bytes()) > 4000  # all of it
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(os, "replace", spied_replace)
    save(path, STATE)
    temporary = f".a.pt.{socket.gethostname()}.{os.getpid()}.tmp"
    assert events == [f"sync {temporary}", f"rename {temporary} to a.pt", f"sync {tmp_path.name}"]


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


def test_a_killed_writer_leaves_nothing_for_long(tmp_path: Path) -> None:
    """Breaks if half files pile up, or the half file of a process that still writes is taken away."""
    path = tmp_path / "a[1].json"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = [f".a[1].json.{socket.gethostname()}.{os.getppid()}.tmp", f".a[1].json.elsewhere.{dead.pid}.tmp"]
    for name in [*kept, f".a[1].json.{socket.gethostname()}.{dead.pid}.tmp"]:
        (tmp_path / name).write_text("half")
    with replacing(path) as file:
        file.write(b"{}")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["a[1].json", *kept])


def test_an_interrupted_writer_cleans_up(tmp_path: Path) -> None:
    def interrupted() -> None:
        with replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


class TestCheckpoints:
    """Two files, of which the newer one that can be used counts."""

    def make(self, folder: Path) -> tuple[Checkpoints, list[str]]:
        told: list[str] = []
        return Checkpoints(folder / "unit.pt", "cpu", told.append), told

    def test_the_last_two_are_kept(self, tmp_path: Path) -> None:
        checkpoints, _ = self.make(tmp_path)
        for step in range(5):
            checkpoints.save({"step": step})
            assert len(list(tmp_path.iterdir())) == min(2, step + 1)
            assert sorted(load(path)["step"] for path in tmp_path.iterdir()) == [step - 1, step][-step - 1 :]
        again, told = self.make(tmp_path)
        assert again.load(lambda state: None) == {"step": 4}
        assert told == []
        again.remove()
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("saves", [2, 3])
    def test_a_damaged_newest_one_is_told_and_not_used(self, saves: int, tmp_path: Path) -> None:
        checkpoints, _ = self.make(tmp_path)
        for step in range(saves):
            checkpoints.save({"step": step})
        newest, other = checkpoints.paths[(saves - 1) % 2], checkpoints.paths[saves % 2]
        flip(newest, 4321)
        again, told = self.make(tmp_path)
        assert again.load(lambda state: None) == {"step": saves - 2}
        (text,) = told
        assert text == f"{newest}: its content is not what was written; goes on from the other checkpoint, {other.name}"
        again.save({"step": 99})  # over the damaged one
        assert sorted(load(path)["step"] for path in tmp_path.iterdir()) == [saves - 2, 99]

    def test_both_damaged(self, tmp_path: Path) -> None:
        checkpoints, _ = self.make(tmp_path)
        for step in range(2):
            checkpoints.save({"step": step})
        flip(checkpoints.paths[0], 999)
        checkpoints.paths[1].write_bytes(checkpoints.paths[1].read_bytes()[:-1])
        again, told = self.make(tmp_path)
        assert again.load(lambda state: None) is None
        (text,) = told
        assert text.count("; ") == 2
        assert text.endswith("that stage starts again")
        assert not list(tmp_path.iterdir())
        again.save({"step": 0})
        assert again.load(lambda state: None) == {"step": 0}

    def test_a_state_that_does_not_fit(self, tmp_path: Path) -> None:
        checkpoints, told = self.make(tmp_path)
        for step in range(2):
            checkpoints.save({"step": step})

        def check(state: dict[str, Any]) -> None:
            if state["step"] == 1:
                raise Damaged("its rows are lost")

        assert checkpoints.load(check) == {"step": 0}
        assert told == [
            f"{checkpoints.paths[1]}: its rows are lost; goes on from the other checkpoint, {checkpoints.paths[0].name}"
        ]

    def test_a_file_that_may_not_be_read_is_no_damage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Breaks if a moment's lack of permission costs the stage. (A superuser may read everything.)"""
        checkpoints, _ = self.make(tmp_path)
        checkpoints.save({"step": 0})

        def refuse(self: Path, mode: str) -> Any:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(UserError, match=r"unit\.pt: cannot be read \(Permission denied\)"):
            checkpoints.load(lambda state: None)
        assert checkpoints.paths[0].exists()


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_imagined_rows(draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Breaks if D_model comes back otherwise from any of the last two checkpoints, or a row is written twice."""
    runs, capacity = draw.draw(st.integers(1, 3)), draw.draw(st.integers(0, 12))
    folder = tmp_path_factory.mktemp("rows")
    buffer, rows = ModelBuffer(runs, capacity, 1, 1), ImaginedRows(folder / "unit.rows")
    value, number = 0, 0
    kept: list[tuple[dict[str, Any], torch.Tensor, torch.Tensor]] = []
    for _ in range(draw.draw(st.integers(1, 12))):
        if capacity and draw.draw(st.booleans()):
            size = draw.draw(st.integers(1, capacity))
            valid = torch.tensor(draw.draw(st.lists(st.booleans(), min_size=runs * size, max_size=runs * size)))
            numbers = torch.arange(value, value + runs * size, dtype=torch.float32).view(runs, size)
            value += runs * size
            column = numbers[..., None]
            buffer.append(Batch(column, column, numbers, column, numbers), valid.view(runs, size))
        else:
            before = kept[-1][2].tolist() if kept else [0] * runs
            state = copy.deepcopy(rows.save(number, buffer.rows, buffer.written))
            rows.forget()
            kept = [*kept[-1:], (state, buffer.rows.clone(), buffer.written.clone())]
            written = folder / "unit.rows" / f"{number}.rows"
            if written.exists():
                news = [min(n - m, capacity) for n, m in zip(buffer.written.tolist(), before, strict=True)]
                assert read_seal(written).size == sum(news) * buffer.rows[0, 0].nbytes
            number += 1
    for state, expected, count in reversed(kept):
        again = ImaginedRows(folder / "unit.rows")
        found = again.load(state)
        assert torch.equal(found["written"], count)
        assert torch.equal(found["rows"], expected)
    needed = {entry[0] for state, _, _ in kept for entry in state["files"]}
    assert {int(path.stem) for path in (folder / "unit.rows").glob("*")} == needed
    if kept:  # the older one is gone on with
        state, expected, count = kept[0]
        again.load(state)
        more = again.save(number, expected, count + 1)
        assert torch.equal(ImaginedRows(folder / "unit.rows").load(more)["rows"], expected)


@pytest.mark.parametrize("harm", ["flip", "lose"])
def test_damaged_rows_are_damage_of_the_checkpoint(harm: str, tmp_path: Path) -> None:
    """Breaks if a damaged D_model is loaded. Both checkpoints may need the same file: each row is written once."""
    told: list[str] = []
    checkpoints, buffer = Checkpoints(tmp_path / "unit.pt", "cpu", told.append), ModelBuffer(2, 6, 1, 1)
    for step in range(9):
        column = torch.full((2, 3, 1), float(step))
        buffer.append(Batch(column, column, column[..., 0], column, column[..., 0]), torch.ones(2, 3, dtype=torch.bool))
        checkpoints.save({"cohort": {"model_buffer": {"rows": buffer.rows, "written": buffer.written}}})
        assert len(list((tmp_path / "unit.rows").iterdir())) <= 3
    path = tmp_path / "unit.rows" / "8.rows"
    if harm == "flip":
        flip(path, 123)
    else:
        path.unlink()
    state = checkpoints.load(lambda state: None)
    assert state is not None
    assert state["cohort"]["model_buffer"]["written"].tolist() == [24, 24]  # the checkpoint before
    assert state["cohort"]["model_buffer"]["rows"][:, :, 0].tolist() == 2 * [[6.0] * 3 + [7.0] * 3]
    (text,) = told
    assert f"unit.pt: needs {path}, but" in text
