"""Does it learn at all: the plainest task with the settings of the mini scale."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from scipy import stats

from moore.algorithm.config import from_mapping
from moore.studies.axes import merge
from moore.studies.study import ABLATIONS_DIR
from tests.support.core import run_online

CPU_INFO = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def curve(tmp_path: Path, seeds: int, epochs: int, precision: str = "float32") -> pd.DataFrame:
    """Scores of SAC from scratch on the pendulum, by environment step and seed."""
    scale = yaml.safe_load((ABLATIONS_DIR / "scales" / "mini.yaml").read_text())
    values = merge(scale["defaults"], {"algorithm": "sac", **scale["methods"]["sac"]})
    values = merge(
        values, {"env": "pendulum", "eval_episodes": 5, "online": {"epochs": epochs}, "precision": precision}
    )
    configs = [from_mapping(merge(values, {"seed": seed}), "mini") for seed in range(seeds)]
    _, rows = run_online(configs, tmp_path)
    return rows[rows["metric"] == "eval/score"].pivot_table(index="env_steps", columns="seed", values="value")


def test_sac_learns_pendulum(tmp_path: Path) -> None:
    """Breaks if any part of SAC, the replay or the environment loop stops it from learning (0: random, 100: SAC).

    The ten published runs (analysis/results, scale mini) are at 70 by then, with a standard deviation of 3.
    """
    scores = curve(tmp_path, 2, epochs=10).mean(axis=1)
    assert scores.loc[0] < 30
    assert scores.iloc[-3:].mean() > 40


@pytest.mark.skipif(
    "avx512" not in CPU_INFO,
    reason="no AVX-512: bfloat16 products are emulated, and this test takes a quarter of an hour",
)
def test_bf16_learns_like_float32(tmp_path: Path) -> None:
    """Breaks if bfloat16 products slow learning down: ten seeds against the interval of ten seeds in float32.

    Means of ten seeds over the first, second and last third of the curve, each within Student's t interval for the mean
    of ten others; at 99 % for all three together (Bonferroni), so 1 of 100 changes of the last bits fails by chance.
    """
    exact, rounded = (curve(tmp_path / name, 10, 12, name) for name in ("float32", "bf16"))
    assert not exact.equals(rounded)
    for part in range(3):
        third = slice(part * len(exact) // 3, (part + 1) * len(exact) // 3)
        one, other = exact.iloc[third].mean(), rounded.iloc[third].mean()
        width = stats.t.ppf(1 - 0.01 / 3 / 2, df=9) * one.std() * (2 / 10) ** 0.5
        assert abs(other.mean() - one.mean()) < width, (part, one.mean(), other.mean(), width)
