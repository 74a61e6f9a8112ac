"""Rows of a run as they are read: text is text, whatever it looks like."""

from pathlib import Path

import pandas as pd
import pytest

from moore.base.errors import UserError
from moore.base.rows import COLUMNS, read_rows


@pytest.mark.parametrize("method", ["1", "1.50", "true", "null", "nan", "NA", "010", "1e3"])
def test_a_method_keeps_its_name(tmp_path: Path, method: str) -> None:
    file = tmp_path / "rows.csv"
    lines = [
        f"s,{method},self:x,0,run,online,{step},0,0.5,eval/score,{value}" for step, value in ((0, "nan"), (1, "inf"))
    ]
    file.write_text("\n".join([",".join(COLUMNS), *lines, "s,half a li"]))
    rows = read_rows(file)
    assert rows["method"].tolist() == [method] * 2
    assert rows["env_steps"].tolist() == [0, 1]
    assert pd.isna(rows["value"][0])
    assert rows["value"][1] == float("inf")


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    for text in ("a,b\n1,2\n", ",".join(COLUMNS) + "\n" + "s,m,d,0,r,online,0,0,0,x,1\n" + "x," * 20 + "\n"):
        file.write_text(text)
        with pytest.raises(UserError, match="not rows of a run"):
            read_rows(file)
