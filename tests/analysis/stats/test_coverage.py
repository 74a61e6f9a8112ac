"""What 95 % intervals cover, by simulation, and how often verdicts are right with one rival and with ten.

`python -m tests.analysis.stats.test_coverage` measures it again with many trials, for the table in analysis/README.md.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from analysis.claims.verdicts import FAILS, HOLDS, conjunction, judge, p_values
from analysis.io.rows import RESULTS
from analysis.stats.intervals import COVERAGE, bootstrap, estimate, iqm, optimality_gap
from tests.support.drawn import sure

Array = npt.NDArray[np.float64]
RESAMPLED: dict[str, Callable[[Sequence[Array]], Array]] = {
    "IQM": iqm, "optimality gap": optimality_gap,
}  # fmt: skip
COLUMNS = ("mean", *RESAMPLED, "mean, plain percentile bootstrap")
SIZES = [(tasks, seeds) for tasks in (2, 4, 12) for seeds in (3, 5)]
REPS = 1000


def coverage(tasks: int, seeds: int, trials: int) -> dict[str, float]:
    """The share of `trials` in % whose interval holds the truth; scores are normal, with a level and spread a task."""
    rng = np.random.default_rng(100 * tasks + seeds)
    levels, spreads = rng.uniform(20, 90, tasks), rng.uniform(2, 20, tasks)
    draw = lambda n: levels[:, None] + spreads[:, None] * rng.normal(size=(tasks, n))  # noqa: E731
    truth = {"mean": levels.mean(), **{name: of(list(draw(100_000))) for name, of in RESAMPLED.items()}}
    truth[COLUMNS[-1]] = truth["mean"]
    hits = dict.fromkeys(COLUMNS, 0)
    for _ in range(trials):
        strata = list(draw(seeds))
        found = sure(estimate(strata))
        interval = found.interval()
        seed = int(rng.integers(1 << 31))
        _, low, high = bootstrap(strata, lambda s: np.stack([of(s) for of in RESAMPLED.values()]), REPS, seed=seed)
        plain = np.mean([s[rng.integers(seeds, size=(seeds, REPS))].mean(axis=0) for s in strata], axis=0)
        edges = {"mean": (interval.low, interval.high), COLUMNS[-1]: tuple(np.quantile(plain, [0.025, 0.975]))}
        edges |= {name: (a, b) for name, a, b in zip(RESAMPLED, low, high, strict=True)}
        for name, (a, b) in edges.items():
            hits[name] += a <= truth[name] <= b
    return {name: 100 * count / trials for name, count in hits.items()}


def at_the_ceiling(seeds: int, trials: int, headroom: float) -> float:
    """The share in % of t-intervals of one task that hold its mean, where scores end at 100, `headroom` stds above."""
    rng = np.random.default_rng(seeds)
    scores = np.minimum(100, 100 - 10 * headroom + 10 * rng.normal(size=(trials + 100_000, seeds)))
    truth, hits = scores[trials:].mean(), 0
    for values in scores[:trials]:
        found = sure(estimate([values]))
        interval = found.interval()
        hits += interval.low <= truth <= interval.high
    return 100 * hits / trials


def outcomes(rivals: int, better_by: float, trials: int) -> tuple[float, float]:
    """How often MOORe's claim on 4 tasks, 5 seeds, holds and does not hold, in %; `better_by` stds of a run."""
    rng, words = np.random.default_rng(rivals), []
    for _ in range(trials):
        ours, theirs = better_by + rng.normal(size=(4, 5)), rng.normal(size=(rivals, 4, 5))
        found = [estimate(list(ours - one)) for one in theirs]
        sides = [p_values(one, "above", 0) for one in found if one]
        words.append(conjunction(verdict for _, verdict in judge(sides, [0.025] * rivals)))
    return 100 * words.count(HOLDS) / trials, 100 * words.count(FAILS) / trials


def in_the_readme() -> dict[tuple[int, int], list[float]]:
    """tasks, seeds -> the columns of the table of coverages."""
    text = (RESULTS.parent / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (\d+) x (\d+) \| (.+) \|$", text, flags=re.MULTILINE)
    return {(int(tasks), int(seeds)): [float(x) for x in cells.split(" | ")] for tasks, seeds, cells in lines}


@pytest.mark.parametrize(("tasks", "seeds"), SIZES)
def test_the_coverage_is_that_of_the_readme(tasks: int, seeds: int) -> None:
    """Within 4 standard errors of 300 trials, so a false alarm in 1 of 500 runs of all 24 numbers."""
    trials, stated = 300, in_the_readme()[tasks, seeds]
    measured = coverage(tasks, seeds, trials)
    print(f"{tasks} tasks x {seeds} seeds:", {name: round(share, 1) for name, share in measured.items()})
    for share, expected in zip(measured.values(), stated, strict=True):
        assert abs(share - expected) <= 4 * 100 * (expected / 100 * (1 - expected / 100) / trials) ** 0.5


def test_the_captions_state_the_range_of_the_readme() -> None:
    shares = [share for line in in_the_readme().values() for share in line[:-1]]
    assert f"{min(shares):.0f} to {max(shares):.0f} %" in COVERAGE


def test_a_verdict_does_not_depend_on_how_many_rivals_ran() -> None:
    """Truth: all equal, then 2 standard deviations better; with one rival and with ten. Alarms bounded at 4 sigma."""
    trials = 300
    for rivals in (1, 10):
        _, fails = outcomes(rivals, 0.0, trials)
        holds, _ = outcomes(rivals, 2.0, trials)
        print(f"{rivals} rivals: does not hold though equal {fails:.1f} %, holds with 2 std {holds:.1f} %")
        assert fails <= 2.5 + 4 * 100 * (0.025 * 0.975 / trials) ** 0.5
        assert holds >= 97


if __name__ == "__main__":
    for size in SIZES:
        shares = coverage(*size, 4000)
        print(f"| {size[0]} x {size[1]} | {' | '.join(f'{share:.1f}' for share in shares.values())} |", flush=True)
    for n in (3, 5):
        print(f"t at a ceiling, {n} seeds:", [round(at_the_ceiling(n, 4000, room), 1) for room in (2, 1, 0, -1)])
    for rivals in (1, 10):
        print(f"{rivals} rivals:", outcomes(rivals, 0.0, 4000), outcomes(rivals, 2.0, 4000))
