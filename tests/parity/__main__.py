"""Our updates at full size against plain PyTorch transcriptions (tests/support/plain.py), run on demand.

    python -m tests.parity                       # ten updates of each method in float64
    python -m tests.parity --updates 20000       # curves: their Q, in hours
    python -m tests.parity --updates 20000 --methods td3_bc iql --width 128

Both sides start from the same parameters and see the same minibatches and noise of one dataset. The distance is the
relative one of the worst network; it may be 1e-9 after ten updates, and Q may differ by 1 % at any time. Where it
does not, the exit status is 1. Rounding grows as training amplifies it, so a distance later on means nothing by itself.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import tyro
from torch import Tensor

from moore.agents.actor_critic import Setup
from moore.agents.registry import find_agent
from moore.algorithm.config import from_mapping
from moore.algorithm.dynamics import DynamicsConfig, Ensemble
from moore.data.load import load_dataset
from moore.data.transitions import Transitions, to_transitions
from moore.networks.batch import AnyBatch, Batch, BatchWithReturns
from moore.studies.axes import merge
from tests.support.agents import KNOWN, flat
from tests.support.dynamics import plain_fit
from tests.support.plain import One, OneAWAC, OneIQL, OneSAC, OneTD3BC, q_of

Method = Literal["sac", "td3_bc", "iql", "awac", "cql_sac", "cal_ql", "rlpd", "wsrl", "ensemble"]
PLAIN: dict[str, type[One]] = {"td3_bc": OneTD3BC, "iql": OneIQL, "awac": OneAWAC}  # the others are kinds of SAC
DISTANCE, TEN, SHARE_OF_Q = 1e-9, 10, 0.01


class Look(NamedTuple):
    """What both sides have after some updates: the networks' distance, and Q (of the ensemble its holdout error)."""

    update: int
    distance: float
    ours: float
    plain: float


@dataclass(frozen=True)
class Options:
    """What is compared."""

    methods: tuple[Method, ...] = ("sac", "td3_bc", "iql", "awac", "cql_sac", "ensemble")
    updates: int = TEN
    looks: int = 10
    width: int = 256  # of the two hidden layers
    num_actions: int = 10  # of CQL's term
    dataset: str = "self:halfcheetah-medium-replay"
    transitions: int = 10_000


def main(options: Options) -> None:
    """Compare; print a line for every look."""
    torch.set_default_dtype(torch.float64)
    is_made_here = options.dataset.startswith("self:")
    file = load_dataset(options.dataset, transitions=options.transitions if is_made_here else None)
    data = to_transitions(file, keep_timeouts=True, gamma=0.99)
    print(f"{'method':10} {'updates':>8} {'distance':>10} {'ours':>12} {'plain':>12}")
    fine = True
    for name in options.methods:
        looks = ensemble(data, options) if name == "ensemble" else agent(name, file.env, data, options)
        for update, gap, ours, plain in looks:
            agree = (update > TEN or gap < DISTANCE) and abs(ours - plain) <= SHARE_OF_Q * abs(plain)
            mark = "" if agree else "  differs"
            print(f"{name:10} {update:8} {gap:10.1e} {ours:12.6g} {plain:12.6g}{mark}", flush=True)
            fine &= agree
    sys.exit(not fine)


def agent(name: str, env: str, data: Transitions, options: Options) -> Iterator[Look]:
    """Train both sides of one method in its offline stage."""
    size: dict[str, Any] = {"hidden": [options.width] * 2}
    if KNOWN[name]["algorithm"] == "cql":
        size["num_actions"] = options.num_actions
    config = from_mapping(merge(KNOWN[name], {"agent": size}) | {"env": env}, name)
    sizes = data.obs.shape[1], data.action.shape[1]
    ours: Any = find_agent(config.algorithm)(config.agent, Setup(*sizes, [0], "offline"))
    fields = [data.obs, data.action, data.reward, data.next_obs, data.terminated, data.return_to_go]
    columns = [torch.as_tensor(x).double() for x in fields]
    ours.fit_to_dataset(0, columns[0], data.return_range)
    plain = PLAIN.get(name, OneSAC)(ours, 0)
    generator = torch.Generator().manual_seed(0)

    def minibatch() -> AnyBatch:
        rows = torch.randint(len(data), (config.agent.batch_size,), generator=generator)
        batch = BatchWithReturns(*(x[rows] for x in columns))
        return batch if config.reads_returns else Batch(*batch[:5])

    def seen(batch: AnyBatch) -> AnyBatch:
        scaled = {key: ours.standardize(getattr(batch, key)[None])[0] for key in ("obs", "next_obs")}
        return batch._replace(**scaled)

    probe = seen(minibatch())
    for update in range(1, options.updates + 1):
        batch = minibatch()
        noise = torch.randn(ours.noise_blocks, *batch.action.shape, generator=generator)
        with_actor = update % ours.actor_interval == 0
        ours.update(type(batch)(*(x[None] for x in batch)), noise[:, None], with_actor)
        plain.update(seen(batch), noise, with_actor)
        if update % max(1, options.updates // options.looks) == 0:
            pairs = [(ours.actor_params[0], torch.cat([flat(plain.actor), plain.extra.detach()]))]
            pairs += [(row, flat(net)) for row, net in zip(ours.critic_params[0], plain.critics, strict=True)]
            pairs += [(row, flat(net)) for row, net in zip(ours.critic_target[0], plain.targets, strict=True)]
            with torch.no_grad():
                q = ours.q(ours.critic_params, probe.obs[None], probe.action[None]).mean()
                plain_q = torch.stack([q_of(net, probe.obs, probe.action) for net in plain.critics]).mean()
            yield Look(update, max(map(distance, *zip(*pairs, strict=True))), float(q), float(plain_q))


def ensemble(data: Transitions, options: Options) -> Iterator[Look]:
    """Train both sides' dynamics ensemble until its holdout error no longer falls, or for so many updates."""
    settings = DynamicsConfig(epoch_updates=min(1000, options.updates))
    ours = Ensemble(settings, data.obs.shape[1], data.action.shape[1], [0])
    fields = (data.obs, data.action, data.reward, data.next_obs, data.terminated)
    columns = [torch.as_tensor(x).double() for x in fields]
    held = len(data) // 10
    ours.fit_scaler(0, Batch(*columns))
    holdout = Batch(*(x[None, :held] for x in columns))

    def draws() -> Callable[[int], Batch]:
        generator = torch.Generator().manual_seed(0)

        def draw(count: int) -> Batch:
            rows = torch.randint(held, len(data), (count,), generator=generator)
            return Batch(*(x[None, rows] for x in columns))

        return draw

    params, _, count, error = plain_fit(ours, 0, draws(), holdout, options.updates)
    metrics = ours.fit(draws(), holdout, options.updates)
    assert int(metrics["model/updates"]) == count, "the two sides stopped at different updates"
    worst = max(map(distance, ours.params[0].detach(), params))
    yield Look(count, worst, float(metrics["model/holdout_mse"]), error)


def distance(ours: Tensor, plain: Tensor) -> float:
    """Norm of the difference, as a share of the plain one's."""
    return float((ours.detach() - plain).norm() / plain.norm())


if __name__ == "__main__":
    main(tyro.cli(Options))
