"""A file of each format, as its program writes it."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.io.foreign import read_curves
from moore.base.errors import UserError

WANDB = (
    '"Step","awac-s0 - eval/score","awac-s0 - eval/score__MIN","awac-s0 - eval/score__MAX",'
    '"awac-s1 - eval/score","awac-s1 - eval/score__MIN","awac-s1 - eval/score__MAX"\n'
    '"0","40.5","40.5","40.5","41","41","41"\n"250","50","50","50","","",""\n'
    '"500","60.25","60.25","60.25","61","61","61"\n'
)
SCALARS = "Wall time,Step,Value\n1700000000.12,0,40.5\n1700000009.5,250,50.0\n"


def read(file: Path, form: str, **choices: Any) -> pd.DataFrame:
    return read_curves(file, form, choices.get("columns", {}), {"task": "hopper-medium-v2"} | choices.get("given", {}))


def curves(found: pd.DataFrame) -> dict[Any, dict[int, float]]:
    """(method, seed) -> step -> score."""
    return {run: dict(zip(rows["step"], rows["score"], strict=True)) for run, rows in found.groupby(["method", "seed"])}


def test_wandb(tmp_path: Path) -> None:
    file = tmp_path / "wandb_export_2026-01-02T10_11_12.000+01_00.csv"
    file.write_text(WANDB, encoding="utf-8")
    expected = {("awac", 0): {0: 40.5, 250: 50, 500: 60.25}, ("awac", 1): {0: 41, 500: 61}}
    assert curves(read(file, "wandb")) == expected
    file.write_text(WANDB.replace("awac-s1 - eval/score", "awac-s1 - loss"), encoding="utf-8")
    with pytest.raises(UserError, match="--map score=METRIC of several"):
        read(file, "wandb")
    del expected["awac", 1]
    assert curves(read(file, "wandb", columns={"score": "eval/score"})) == expected


def test_a_scalar_of_tensorboard(tmp_path: Path) -> None:
    for name, method, seed in (("run-iql_seed=3-tag-eval_score.csv", "iql", 3), ("plain.csv", "plain", 0)):
        (tmp_path / name).write_text(SCALARS, encoding="utf-8")
        assert curves(read(tmp_path / name, "tensorboard")) == {(method, seed): {0: 40.5, 250: 50.0}}
    (tmp_path / "plain.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="columns a, b; accepted: Wall time, Step, Value"):
        read(tmp_path / "plain.csv", "tensorboard")


def test_event_files_of_tensorboard(tmp_path: Path) -> None:
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        with pytest.raises(UserError, match="event files need the package tensorboard; accepted: pip install"):
            read(tmp_path, "tensorboard")
        pytest.skip("the package tensorboard is not installed")
    for seed in (0, 1):
        writer = EventFileWriter(str(tmp_path / f"awac-s{seed}"))
        for step in (0, 250):
            for tag in ("score", "loss"):
                value = Summary(value=[Summary.Value(tag=tag, simple_value=step / 10 + seed)])
                writer.add_event(Event(step=step, summary=value))
        writer.close()
    with pytest.raises(UserError, match="accepted: --map score=TAG"):
        read(tmp_path, "tensorboard")
    found = curves(read(tmp_path, "tensorboard", columns={"score": "score"}))
    assert found == {("awac", 0): {0: 0, 250: 25}, ("awac", 1): {0: 1, 250: 26}}


def test_corl(tmp_path: Path) -> None:
    """Half of CORL's evaluations are offline; the last of them is J_0, and online it evaluates every 5000 steps."""
    runs = [([1.0, np.float64(2.5)], [3.0, 4.0], 0.1), ([np.float32(7)], [8.0], None)]
    file = tmp_path / "finetune_scores.pickle"
    file.write_bytes(pickle.dumps({"IQL": {"antmaze-umaze-v2": runs}, "CQL": {"antmaze-umaze-v2": []}}))
    found = read_curves(file, "corl", {}, {})
    assert curves(found) == {("IQL", 0): {0: 2.5, 5000: 3, 10000: 4}, ("IQL", 1): {0: 7, 5000: 8}}
    assert set(found["task"]) == {"antmaze-umaze-v2"}
    bad = (({"IQL": [1.0]}, r"accepted: CORL's finetune_scores\.pickle"), (Path("x"), "it holds pathlib"))
    for content, message in bad:
        file.write_bytes(pickle.dumps(content))  # reading it calls nothing
        with pytest.raises(UserError, match=message):
            read_curves(file, "corl", {}, {})
