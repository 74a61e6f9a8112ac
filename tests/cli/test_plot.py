"""`moore plot`: a file and its caption, or one clear line."""

from pathlib import Path

import pytest

from moore.cli.main import main
from tests.support.studies import LOW, MEDIUM, flat, write_study


def test_a_figure_is_written_and_its_caption_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [row for name in ("moore", "awac") for task in (LOW, MEDIUM) for row in flat(name, task, [60.0, 62.0])]
    folder = str(write_study(tmp_path / "toy", rows))
    assert main(["plot", folder]) == 0
    assert capsys.readouterr().out.startswith(
        "build/toy/curves.pdf: Evaluation score, self-made data, mean over 2 seeds"
    )
    assert Path("build/toy/curves.pdf").read_bytes().startswith(b"%PDF")
    chosen = ("--methods", "moore", "AWAC", "--tasks", "Pendulum-low", "--labels", "awac=Baseline", "--width", "3.25")
    assert main(["plot", folder, "--figure", "forest", *chosen, "--out", "x.svg"]) == 0
    assert "<svg" in Path("x.svg").read_text(encoding="utf-8")
    assert "MOORe" in capsys.readouterr().out
