"""Does it learn at all: the plainest task with the settings of the mini scale."""

from pathlib import Path

import pandas as pd
import yaml

from moore.axes import merge
from moore.cohort import Cohort
from moore.config import from_mapping
from moore.online import OnlineStage
from moore.results import Recorder
from moore.study import ABLATIONS_DIR


def test_sac_learns_pendulum(tmp_path: Path) -> None:
    """Breaks if any part of SAC, the replay or the environment loop stops it from learning (0: random, 100: SAC).

    20 seeds have a mean of 72 and a standard deviation of 24: three fail to reach 40 by chance in 1 of 100 changes of
    the last bits.
    """
    scale = yaml.safe_load((ABLATIONS_DIR / "scales" / "mini.yaml").read_text())
    values = merge(scale["defaults"], {"real_ratio": 1.0, **scale["methods"]["sac"]})
    values = merge(values, {"env": "pendulum", "eval_episodes": 5, "online": {"epochs": 12}})
    configs = [from_mapping(merge(values, {"seed": seed}), "mini") for seed in range(3)]
    recorder = Recorder(tmp_path, "learning", configs)
    OnlineStage(Cohort(configs, {}, "online")).run(recorder, lambda: None)
    rows = pd.concat([pd.read_csv(path) for path in recorder.paths])
    scores = rows[rows["metric"] == "eval/score"].pivot_table(index="env_steps", values="value")["value"]
    assert scores.loc[0] < 30
    assert scores.iloc[-3:].mean() > 40
