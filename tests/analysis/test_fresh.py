"""A study whose tables and figures are there already is not drawn again; anything else than that is."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import fresh
from analysis.report import report
from analysis.rows import Study
from tests.analysis.test_rows import Row, full_study, write_study

CODE_FILE = "analysis/captions.py"


class Place:
    """A copy of no more code than a file of each kind, results of one study, an output folder and its record."""

    def __init__(self, folder: Path) -> None:
        self.root, self.out, self.record = folder / "code", folder / "out", folder / "runs" / "drawn.json"
        self.results = write_study(folder / "results" / "toy", full_study(2))
        for name in (CODE_FILE, "analysis/claims.yaml", "moore/studies/axes.py", "moore/agents/methods.yaml"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text("as it is\n")
        (self.root / "ablations" / "scales").mkdir(parents=True)
        (self.root / "ablations" / "scales" / "paper.yaml").write_text("as it is\n")

    def report(self) -> list[Path]:
        return report([self.results], self.out, self.record)

    def figure(self) -> Path:
        return self.out / "figures" / "toy" / "curves.pdf"

    def write(self, name: str) -> None:
        (self.root / name).write_text("other\n")


def quick(study: Study, folder: Path, stem: str = "") -> list[Path]:
    """In place of tables and figures, which take seconds: a file that depends on rows and manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (f"{stem}.md" if stem else "curves.pdf")
    file.write_text(f"{study.rows['value'].sum()} {study.manifest}")
    return [file]


def other_rows(folder: Path, rows: list[Row]) -> None:
    shutil.rmtree(folder)
    write_study(folder, rows)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setattr(fresh, "ROOT", made.root)
    monkeypatch.setattr("analysis.report._write_figures", quick)
    monkeypatch.setattr("analysis.report._write_tables", quick)
    return made


def test_the_same_again_writes_nothing(place: Place) -> None:
    """Breaks if anything is written, or taken for changed, that is the same; without a record all is written."""
    written = place.report()
    assert place.figure() in written
    assert place.out / "tables" / "toy.md" in written
    stamps = {file: file.stat().st_mtime_ns for file in [*written, place.record]}
    os.utime(place.results / "rows.parquet")  # `moore reproduce` writes the same rows again
    assert place.report() == []
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    assert report([place.results], place.out) == written


CHANGES: dict[str, Callable[[Place], object]] = {
    "rows": lambda place: other_rows(place.results, full_study(3)),
    "one row's value": lambda place: other_rows(place.results, [dict(row, value=1.5) for row in full_study(2)]),
    "manifest": lambda place: (place.results / "manifest.json").write_text(
        (place.results / "manifest.json").read_text().replace("{", '{"note": 1, ', 1)
    ),
    "a figure is gone": lambda place: place.figure().unlink(),
    "a figure is another": lambda place: place.figure().write_text("edited"),
    "a table is gone": lambda place: (place.out / "tables" / "toy.md").unlink(),
    "another folder": lambda place: setattr(place, "out", place.out.parent / "elsewhere"),
    "code of captions": lambda place: place.write(CODE_FILE),
    "a new module": lambda place: place.write("analysis/new.py"),
    "claims": lambda place: place.write("analysis/claims.yaml"),
    "code below moore": lambda place: place.write("moore/studies/axes.py"),
    "methods": lambda place: place.write("moore/agents/methods.yaml"),
    "the paper's settings": lambda place: place.write("ablations/scales/paper.yaml"),
    "the record is gone": lambda place: place.record.unlink(),
    "the record is cut": lambda place: place.record.write_text(place.record.read_text()[:40]),
    "the record is another list": lambda place: place.record.write_text("[]"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_draws_again(place: Place, change: Callable[[Place], object]) -> None:
    """Breaks if a user could see a figure or table of other rows, manifest, code or hands than the ones at hand."""
    place.report()
    change(place)
    expected = place.report()
    assert place.figure() in expected
    fresh_files = {file.relative_to(place.out): file.read_bytes() for file in expected}
    assert place.report() == []
    again = report([place.results], place.out.parent / "again")
    assert {file.relative_to(place.out.parent / "again"): file.read_bytes() for file in again} == fresh_files


def test_another_version_of_a_package_draws_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if an upgrade of matplotlib or of any other package that draws leaves its old figures."""
    for name in fresh.PACKAGES:
        place.report()
        version = importlib.metadata.version
        with monkeypatch.context() as patch:
            patch.setattr(importlib.metadata, "version", lambda asked, n=name, v=version: v(asked) + "x" * (asked == n))
            assert place.report() != [], name


def test_another_study_changes_nothing(place: Place) -> None:
    """Breaks if a study is drawn again because of another one, or the other one's figures are touched."""
    place.report()
    other = write_study(place.results.parent / "other", full_study(2))
    figure = place.out / "figures" / "other" / "curves.pdf"
    report([other], place.out, place.record.with_name("other.json"))
    figure.write_text("of other rows")
    other_rows(other, full_study(3))
    assert place.report() == []
    (place.results / "manifest.json").write_text((place.results / "manifest.json").read_text() + "\n")
    assert place.figure() in place.report()
    assert figure.read_text() == "of other rows"
    assert report([other], place.out, place.record.with_name("other.json")) != []
