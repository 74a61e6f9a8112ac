"""The columns of a result row, and how a run's rows.csv is read: text stays text, whatever it looks like."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from moore.base.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = ("study", "method", "dataset", "run", "phase", "metric")
NUMBER_COLUMNS = ("seed", "env_steps", "updates", "wall_seconds", "value")
COLUMNS = (
    "study", "method", "dataset", "seed", "run", "phase", "env_steps", "updates", "wall_seconds", "metric", "value",
)  # fmt: skip


def read_rows(file: Path) -> pd.DataFrame:
    """Read the whole lines of a rows.csv: a run that was killed while it wrote leaves half a line, which is left out.

    A method may be called 1.50, true or null. Raises UserError naming the file.
    """
    import pandas as pd  # not above: it takes long, and most who know the columns read no file

    text = file.read_text(encoding="utf-8")
    whole = io.StringIO(text[: text.rfind("\n") + 1] or ",".join(COLUMNS))
    missing = {name: ["nan", ""] for name in NUMBER_COLUMNS}
    try:
        rows = pd.read_csv(whole, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=missing)
    except (pd.errors.ParserError, ValueError) as error:
        raise UserError(f"{file}: not rows of a run ({' '.join(str(error).split())})") from None
    if set(rows.columns) != set(COLUMNS):
        raise UserError(f"{file}: not rows of a run; a row has {', '.join(COLUMNS)}")
    return rows
