"""What notebooks show: a study in git, a figure, a table, the verdict on a sentence of the paper.

`python -m analysis.output.show [--write] [NOTEBOOK ...]` executes analysis/notebooks. It exits with 1 where a text that
is stored is not what the rows say now; --write stores what they say and draw. Pictures are not compared.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
from matplotlib.figure import Figure

from analysis.claims.claims import load_claims
from analysis.claims.tables import comparisons_table
from analysis.claims.verdicts import check, conjunction
from analysis.io.rows import RESULTS, Results, load_study, study_folders
from analysis.output.render import to_markdown
from analysis.output.tables import Table
from analysis.plots.figures import picture

NOTEBOOKS = RESULTS.parent / "notebooks"
DPI = 110  # 740 pixels of a page's width


def study(name: str) -> Results:
    """Load a study of analysis/results. Raises UserError naming those that are there."""
    return load_study(study_folders(RESULTS, [name])[0])


def figure(drawn: tuple[Figure, str]) -> None:
    """Show a figure, as `analysis.plots.figures.draw` makes it, and its caption."""
    from IPython.display import Image, display

    small, whole = io.BytesIO(), PIL.Image.open(io.BytesIO(picture(drawn[0], dpi=DPI)))
    whole.convert("RGB").quantize(256).save(small, "png", optimize=True)
    display(Image(small.getvalue()))
    _say(drawn[1])


def table(shown: Table) -> None:
    """Show a table and its caption."""
    _say(to_markdown(shown))


def verdict(judged: Results, key: str) -> None:
    """Show a sentence of the paper by its key in claims.yaml, our verdict, and the comparisons behind it."""
    claim = next(claim for claim in load_claims() if claim.key == key)
    found = check(judged, (claim,))
    _say(f"> {claim.sentence}\n\nOn these rows: **{conjunction(one.verdict for one in found)}**.")
    table(comparisons_table(claim, found))


def execute(file: Path, write: bool) -> bool:
    """Run a notebook in a kernel of its own; tells whether the stored texts are what it says now."""
    import nbformat
    from nbclient import NotebookClient

    stored, fresh = (nbformat.read(file, as_version=4) for _ in range(2))
    NotebookClient(fresh, record_timing=False, resources={"metadata": {"path": str(file.parent)}}).execute()
    if write:
        fresh.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(fresh, file)
    return _texts(fresh) == _texts(stored)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="files; default: all of analysis/notebooks")
    parser.add_argument("--write", action="store_true", help="store what the notebooks say and draw now")
    options = parser.parse_args(arguments)
    stale = 0
    for file in options.notebooks or sorted(NOTEBOOKS.glob("*.ipynb")):
        same = execute(file, options.write)
        stale += not same
        print(
            f"{file.name}: {'unchanged' if same else 'rewritten' if options.write else 'is stale; --write stores it'}"
        )
    return int(stale > 0 and not options.write)


def _texts(notebook: Any) -> list[Any]:
    """Every output without its pictures: their bytes depend on the machine's fonts."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [one.get("data", {"text": one.get("text")}) for one in outputs]
    return [{kind: text for kind, text in data.items() if not kind.startswith("image/")} for data in shown]


def _say(text: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(text))


if __name__ == "__main__":
    sys.exit(main())
