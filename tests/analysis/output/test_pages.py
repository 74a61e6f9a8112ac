"""The generated pages."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import colors, image

from analysis.io.rows import RESULTS, load_study
from analysis.output import pages
from analysis.output.pages import CLOSING, SHOWN, draw_pictures, regenerate, results_page
from analysis.plots.looks import drawn_as
from moore.base.errors import UserError
from tests.support.studies import LOW, flat, full_study, make_study, write_study


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_study(tmp_path / "results" / "toy", full_study(3))
    return tmp_path / "results"


def test_blocks_are_filled_and_the_rest_stays(results: Path, tmp_path: Path) -> None:
    file, studies = tmp_path / "README.md", {"toy": load_study(results / "toy")}
    text = f"# Title\n<!-- generated:table:toy -->\nSTALE\n{CLOSING}\ntyped\n"
    fresh = regenerate(text, studies, file)
    assert fresh.startswith("# Title\n<!-- generated:table:toy -->\n| dataset |")
    assert fresh.endswith(f"{CLOSING}\ntyped\n")
    assert "STALE" not in fresh
    assert regenerate(fresh, studies, file) == fresh
    more = load_study(write_study(tmp_path / "other" / "toy", full_study(4)))
    assert regenerate(fresh, {"toy": more}, file) != fresh


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- generated:table:toy -->\n", "blocks begin, . end with"),
        (f"<!-- generated:table:toy -->\n<!-- generated:table:toy -->\n{CLOSING}\n", "blocks begin, . end with"),
        (f"<!-- generated:chart:toy -->\n{CLOSING}\n", "expected KIND:STUDY"),
        (f"<!-- generated:table:absent -->\n{CLOSING}\n", "STUDY one of toy"),
        (f"<!-- generated:curves:toy -->\n{CLOSING}\n", "toy: no picture"),
    ],
)
def test_broken_blocks_are_one_line_errors(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        regenerate(text, {"toy": make_study(full_study(1))}, Path("README.md"))


def test_the_pictures_in_git_are_few_and_small() -> None:
    pictures = sorted(pages.PICTURES.iterdir())
    assert [file.stem for file in pictures] == sorted(SHOWN)
    assert all(file.stat().st_size <= 300_000 for file in pictures)


@pytest.mark.parametrize("name", ["paper-methods-mini", "sampling-mini"])
def test_the_pictures_in_git_keep_every_methods_colour(name: str) -> None:
    """Breaks if two methods cannot be told apart, as in a picture with too few colours."""
    pixels = image.imread(pages.PICTURES / f"{name}.png")[..., :3].reshape(-1, 3)
    for look in drawn_as(load_study(RESULTS / name)).values():
        distance = np.abs(pixels - colors.to_rgb(look.colour)).max(1).min()
        assert distance < 0.01, look.label


def test_a_stale_page_is_named_and_rewritten(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ROOT", "PICTURES"):
        monkeypatch.setattr(pages, name, tmp_path)
    for name in ("README", "PAGE"):
        monkeypatch.setattr(pages, name, tmp_path / f"{name}.md")
        (tmp_path / f"{name}.md").write_text("typed\n", encoding="utf-8")
    arguments = ["--results", str(results)]
    assert pages.main([*arguments, "--check"]) == 1
    assert capsys.readouterr().out == "PAGE.md: is stale; run `make pages`\n"
    assert (tmp_path / "PAGE.md").read_text(encoding="utf-8") == "typed\n"
    assert pages.main(arguments) == 0
    assert pages.main([*arguments, "--check"]) == 0
    assert "prioritized" in (tmp_path / "PAGE.md").read_text(encoding="utf-8")


def test_a_missing_picture_is_drawn_and_a_present_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PICTURES", tmp_path / "pictures")
    studies = {"sampling-mini": make_study(flat("uniform", LOW, [1.0, 2.0]))}
    (drawn,) = draw_pictures(studies, again=False)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert draw_pictures(studies, again=False) == []
    assert draw_pictures(studies, again=True) == [drawn]


def test_the_page_has_a_section_and_the_provenance_of_every_study(results: Path) -> None:
    page = results_page({"toy": load_study(results / "toy")})
    assert page.count("## toy\n") == 1
    assert page.count("command `make it_all`") == 1
