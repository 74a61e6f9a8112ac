"""Whether a GPU computes what the plain path on a CPU does, and without waiting for it."""

import io
from collections.abc import Callable, Iterator
from functools import partial

import torch

from moore.agents.actor_critic import Setup
from moore.agents.registry import find_agent
from moore.algorithm.cohort import Cohort
from moore.algorithm.train_model import draw_batch
from moore.networks.batch import Batch
from moore.networks.graphs import CudaRecorder
from tests.networks.test_graphs import taped
from tests.support.agents import ACT, METHODS, OBS, SEEDS, data, method, three_strategies
from tests.support.core import make_cohort, with_returns
from tests.support.recordings import check_recorded, tensors_of

# relative to the larger of 1 and the number: products of 24 bits, and of TF32's 10
TOLERANCES = {"float32": 1e-3, "tf32": 3e-2}
STEPS = 4  # of what is trained; rounding doubles with each


class LeftOut(Exception):
    """Why a check was not made."""


def all_checks(device: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield name and check, which raises AssertionError, or LeftOut on a device that it says nothing about."""
    names = METHODS[:1] if torch.device(device).type == "cpu" else METHODS  # test_graphs.py has the others there
    for name in names:
        for stage in ("offline", "online"):
            if not (stage == "offline" and name == "rlpd"):  # has none
                yield f"recorded: {name} {stage}", partial(recorded, name, stage, device)
                yield f"no waits: {name} {stage}", partial(no_waits, name, stage, device)
    for name in ("moore", "awac", "iql", "td3_bc", "rlpd"):
        for precision in TOLERANCES:
            yield f"as a CPU: {name} {precision}", partial(as_a_cpu, name, precision, device)
    yield "alone: moore", partial(alone, "moore", device)
    yield "checkpoint: moore", partial(checkpoint, "moore", device)
    yield "checkpoint: balanced_replay", partial(checkpoint, "balanced_replay", device)


def recorded(name: str, stage: str, device: str) -> None:
    """Replay steps as CUDA graphs, bit for bit the plain ones; on a CPU as tapes of operations."""
    gpu = torch.device(device)
    check_recorded(name, stage, device, taped if gpu.type == "cpu" else lambda made: CudaRecorder(gpu))


def no_waits(name: str, stage: str, device: str) -> None:
    """Train without a look at the device: in `error` mode torch refuses whatever would wait for it."""
    if torch.device(device).type == "cpu":
        raise LeftOut("nothing to wait for on a CPU")
    made = three_strategies(name, stage, device)
    train(made, 2)  # what stays the same for an epoch is copied once
    torch.cuda.set_sync_debug_mode("error")
    try:
        train(made, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def as_a_cpu(name: str, precision: str, device: str) -> None:
    """Update an agent on both devices from the same state with the same noise."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    kind, config = find_agent(method(name).algorithm), method(name).agent
    mine, theirs = (kind(config, Setup(OBS, ACT, SEEDS, device=where)) for where in ("cpu", device))
    theirs.load(mine.state())
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        batch, _ = data(step)
        noise = torch.randn(mine.noise_blocks, *batch.action.shape, generator=generator)
        a = mine.update(batch, noise)
        b = theirs.update(Batch(*(x.to(device) for x in batch)), noise.to(device))
        for key, value in a.items():
            torch.testing.assert_close(b[key].cpu(), value, rtol=TOLERANCES[precision], atol=TOLERANCES[precision])
    torch.backends.cuda.matmul.allow_tf32 = False


def alone(name: str, device: str) -> None:
    """Train three runs together and each alone."""
    runs = [method(name, env="hopper", seed=seed) for seed in SEEDS]
    together = make_cohort(runs, "offline", with_returns("hopper"), device)
    train(together, 1)
    for number, run in enumerate(runs):
        one = make_cohort([run], "offline", with_returns("hopper"), device)
        train(one, 1)
        for key, value in tensors_of(one).items():
            torch.testing.assert_close(tensors_of(together)[key][number : number + 1], value, rtol=1e-4, atol=1e-4)


def checkpoint(name: str, device: str) -> None:
    """Go on from a state that was written to a file, bit for bit."""
    first, second = (three_strategies(name, "online", device) for _ in range(2))
    train(first, 1)
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second.load(torch.load(file, map_location=device, weights_only=True))
    for made in (first, second):
        train(made, 1)
    for key, value in tensors_of(first).items():
        assert torch.equal(value, tensors_of(second)[key]), key


def train(made: Cohort, rounds: int) -> None:
    """Take every kind of step of a stage: an update of the ensemble, a rollout, updates of the policy."""
    t = int(made.stage == "online")
    for _ in range(rounds):
        if made.ensemble is not None:
            made.ensemble.fitted = True
            made.imagine(t)
            members = made.shared.dynamics.ensemble_size * made.shared.dynamics.batch_size
            made.ensemble.update(draw_batch(made, t, "model_batches", members, "train"))
        made.update_policy(t, STEPS)
