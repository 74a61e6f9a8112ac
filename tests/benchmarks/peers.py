"""Our updates beside plain PyTorch: one run at a time in torch.nn and torch.optim; R at once, plainly and compiled.

The plain side (tests/support/plain.py) is what the parity tests compare with: the same formulas, no run axis.
"""

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from moore.algorithm.config import RunConfig, from_mapping
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.train_model import model_caller
from moore.algorithm.update_policy import step_settings, update_step
from moore.base.errors import UserError
from moore.networks.batch import Batch
from moore.networks.calls import caller, plain
from moore.studies.flops import make_agent, model_flops, random_batch, update_flops, update_inputs
from tests.benchmarks.cases import LONG, method_config
from tests.benchmarks.report import report_facts, table, where, write_report
from tests.benchmarks.timing import measure, peak
from tests.parity.__main__ import PLAIN
from tests.support.dynamics import plain_fit
from tests.support.plain import OneSAC

ROUNDS = 3  # each side is timed so often, in turns: a shared machine drifts
NOISES = 100  # different draws of an update's noise
FIT = 10  # updates of the ensemble in one call
SIZE = 1024  # rows of the products whose speed is the chip's, which fit its caches


class Peer(NamedTuple):
    """What is compared: a method at a size."""

    method: str
    env: str
    runs: int
    agent: Mapping[str, Any]
    stage: str = "online"
    precision: str = "float32"

    @property
    def config(self) -> RunConfig:
        """The method's own settings at this size."""
        return method_config(self.method, {"env": self.env, "precision": self.precision, "agent": self.agent})


MINI = {"hidden": [64, 64], "batch_size": 128, "critic_layer_norm": True}
MIDDLE = {"hidden": [128, 128], "batch_size": 256, "critic_layer_norm": True}
WIDE = {"hidden": [256, 256], "batch_size": 256}
PEERS = (
    Peer("sac", "pendulum", 20, MINI),
    *(Peer("sac", "halfcheetah", 8, MIDDLE, precision=precision) for precision in ("float32", "bf16")),
    *(Peer(name, "halfcheetah", 8, WIDE) for name in ("sac", "td3_bc", "awac", "iql")),
    Peer("sac", "halfcheetah", 8, WIDE, precision="bf16"),
    Peer("cql_sac", "halfcheetah", 4, WIDE, "offline"),
)
MODELS = ((20, [64] * 3, 128, "pendulum"), (4, [200] * 4, 256, "halfcheetah"))  # runs, hidden, batch, env


def update_sides(peer: Peer) -> dict[str, Callable[[], object]]:
    """Return calls that update one run in plain PyTorch, and all runs of ours both ways."""
    config, device = peer.config, torch.device("cpu")
    ours: Any = make_agent(config, peer.runs, peer.stage, "cpu")
    batch, noise = update_inputs(config, ours, peer.runs, "cpu")
    # on one batch with one noise, learnt again and again, Q diverges and actions saturate
    batch = batch._replace(terminated=torch.ones_like(batch.terminated))
    noises = itertools.cycle(torch.randn(NOISES, *noise.shape))
    step = functools.partial(update_step, ours, type(batch), True)
    one = PLAIN.get(peer.method, OneSAC)(ours, 0)
    mine = type(batch)(*(x[0] for x in batch))
    call = caller(device, step_settings(config, peer.stage), LONG, ours.activations)
    return {
        "PyTorch": lambda: one.update(mine, next(noises)[:, 0], True),
        "plain": lambda: plain("update", step, next(noises).transpose(0, 1), *batch),
        "compiled": lambda: call(("update", True), step, next(noises).transpose(0, 1), *batch),
    }


def model_sides(runs: int, hidden: Sequence[int], batch: int, env: str) -> tuple[dict[str, Callable[[], object]], Any]:
    """Return calls that train an ensemble for FIT updates, of one run in plain PyTorch and of all; and its config."""
    size = {"hidden": list(hidden), "weight_decay": [0.0] * (len(hidden) + 1), "batch_size": batch}
    size |= {"epoch_updates": FIT, "offline_max_updates": FIT}
    config = from_mapping({"env": env, "dataset": "local:some.hdf5", "dynamics": size}, "ensemble")
    rows = config.dynamics.ensemble_size * batch
    data = random_batch(env, runs, rows, "cpu")
    dims = data.obs.shape[-1], data.action.shape[-1]
    ours = Ensemble(config.dynamics, *dims, list(range(runs)))
    one = Ensemble(config.dynamics, *dims, [0])
    mine, holdout = (Batch(*(x[:1, :size] for x in data)) for size in (rows, 2))
    every = Batch(*(x[:, :2] for x in data))
    call = model_caller(config, torch.device("cpu"), LONG)
    return {
        "PyTorch": lambda: plain_fit(one, 0, lambda count: mine, holdout, FIT),
        "plain": lambda: ours.fit(lambda count: data, every, FIT),
        "compiled": lambda: ours.fit(lambda count: data, every, FIT, call=call),
    }, config


def timed(sides: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Return the seconds of a call of each side, the best of ROUNDS in turns; what is compiled is built before."""
    for call in sides.values():
        call()
    taken = [{name: measure(call, seconds) for name, call in sides.items()} for _ in range(ROUNDS)]
    return {name: min(each[name] for each in taken) for name in sides}


def chip_peak(seconds: float) -> dict[str, float]:
    """Measure FLOP a second of products: torch's in float32, oneDNN's in float32, torch's in bfloat16."""
    a, b = torch.randn(2, SIZE, SIZE)
    onednn = lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # noqa: E731
    found = {"torch float32": peak(seconds, "cpu", "float32"), "torch bfloat16": peak(seconds, "cpu", "bf16")}
    return found | {"oneDNN float32": 2 * SIZE**3 / measure(onednn, seconds)}


def rows(seconds: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each comparison: run-updates a second of each side, and the arithmetic of one."""
    for peer in PEERS:
        width, norm = peer.agent["hidden"][0], "LayerNorm" if peer.config.agent.critic_layer_norm else ""
        precision = peer.precision if peer.precision != "float32" else ""
        what = " ".join(filter(None, [peer.method, f"2x{width}", norm, precision, peer.env]))
        yield row(what, peer.runs, timed(update_sides(peer), seconds), 1, update_flops(peer.config, peer.stage))
    for model in MODELS:
        sides, config = model_sides(*model)
        what = f"ensemble {config.dynamics.ensemble_size}x{len(model[1])}x{model[1][0]} {model[3]}"
        yield row(what, model[0], timed(sides, seconds), FIT, model_flops(config))


def row(what: str, runs: int, taken: Mapping[str, float], updates: int, flops: float) -> dict[str, Any]:
    """Return run-updates a second of each side; plain PyTorch has one run."""
    rates = {side: updates * (1 if side == "PyTorch" else runs) / seconds for side, seconds in taken.items()}
    print(f"{what:40} {', '.join(f'{side} {rate:,.0f}/s' for side, rate in rates.items())}", flush=True)
    return {"what": what, "runs": runs, "flops": flops, "rates": rates}


def peers_report(facts: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> str:
    """Return the report in Markdown."""
    best = max(facts["peaks"].values())
    peaks = ", ".join(f"{name} {value / 1e9:.0f}" for name, value in facts["peaks"].items())
    columns = ["update", "R", "PyTorch, one run", "ours", "compiled", "ours / PyTorch", "compiled / ours", "% of chip"]
    body = []
    for each in found:
        one, ours, compiled = (each["rates"][side] for side in ("PyTorch", "plain", "compiled"))
        fastest = max(ours, compiled)
        cells = [each["what"], str(each["runs"]), f"{one:,.0f}", f"{ours:,.0f}", f"{compiled:,.0f}"]
        cells += [f"{fastest / one:.1f}", f"{compiled / ours:.2f}", f"{100 * fastest * each['flops'] / best:.0f}"]
        body.append(cells)
    lines = [
        f"# Updates beside plain PyTorch on {facts['device_name']}",
        "",
        where(facts),
        "",
        f"Run-updates a second on one thread, the best of {ROUNDS} turns. PyTorch: one run in "
        "torch.nn and torch.optim, in float32. Ours: R runs at once; `ours / PyTorch` is of the faster way. % of chip: "
        f"matrix products a second over the fastest product here, in GFLOP/s: {peaks}.",
        "",
        *table(columns, body),
        "",
    ]
    return "\n".join(lines)


def main(out: Path | None = None, device: str = "cpu", seconds: float = 0.5) -> None:
    """Print how our updates compare with plain PyTorch on one thread of a CPU; with --out, write peers.md and .json.

    seconds: of each timing, of which there are three a side.
    """
    if device != "cpu":
        raise UserError(f"--device: {device!r} is not accepted; expected cpu")
    torch.set_num_threads(1)
    load, start = os.getloadavg()[0], time.monotonic()
    peaks = chip_peak(seconds)
    found = list(rows(seconds))
    peaks = {name: max(value, peaks[name]) for name, value in chip_peak(seconds).items()}
    facts = report_facts("cpu", load, start, threads=1, peaks=peaks)
    write_report(out, "peers", facts, found, peers_report(facts, found))
