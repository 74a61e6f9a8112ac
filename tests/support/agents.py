"""Agents: a method at its smallest size, batches without meaning, and one network as torch's own modules."""

import dataclasses
from typing import Any, TypeVar

import torch
import yaml
from torch import Tensor, nn

from moore.agents.actor_critic import ActorCriticConfig
from moore.agents.registry import METHODS as METHODS_FILE
from moore.agents.sac import SACConfig
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.networks.batch import Batch
from moore.networks.mlp import MLP
from moore.studies.axes import merge
from tests.support.core import make_cohort, tiny, with_returns

C = TypeVar("C", bound=ActorCriticConfig)
KNOWN: dict[str, Any] = yaml.safe_load(METHODS_FILE.read_text())
METHODS = ("moore", "awac", "iql", "td3_bc", "cql_sac", "cal_ql", "rlpd", "wsrl", "balanced_replay")
OBS, ACT, B = 3, 2, 32
SEEDS = [0, 1, 2]


def method(name: str, **changes: Any) -> RunConfig:
    """A method of methods.yaml at the smallest size and without delays, with changes laid over it."""
    small: dict[str, Any] = {
        "method": name,
        "agent": {"batch_size": 16},  # more than there are critics
        "density_ratio": {"hidden": [8], "batch_size": 16},
        "online": {"warmup_steps": 0, "exploration_steps": 0, "update_interval": 1},
    }
    return tiny(**merge(merge(KNOWN[name] or {}, small), changes))


def three_strategies(name: str, stage: str, device: str, **changes: Any) -> Cohort:
    """Three runs of a method, one of each strategy that draws by source, with a few online transitions."""
    strategies = ("prioritized", "half_half", "pure_online")
    sampling = {} if method(name).uses_density_ratio else {"sampling": {"model_batches": "", "start_states": ""}}
    configs = []
    for seed, strategy in enumerate(strategies):
        own = {key: dict.fromkeys(value, strategy) for key, value in sampling.items()}
        configs.append(method(name, env="hopper", seed=seed, **merge(own, changes)))
    made = make_cohort(configs, stage, with_returns("hopper"), device)
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(len(strategies), *shape, generator=generator)  # noqa: E731
    if stage == "online":
        for _ in range(12):
            fields = (draw(11), draw(3).tanh(), draw(), draw(11), torch.zeros(len(strategies)))
            made.real_buffer.append(Batch(*(x.to(made.device) for x in fields)))
    return made


def with_shared(kind: type[C], shared: SACConfig, **own: Any) -> C:
    """The settings of a method: those of `shared` that it has, and its own."""
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in vars(shared).items() if key in names} | own)


def data(seed: int, runs: int = len(SEEDS)) -> tuple[Batch, Tensor]:
    """A random batch [R, B] and update noise."""
    g = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(2, runs, B, OBS, generator=g)
    action = torch.rand(runs, B, ACT, generator=g) * 2 - 1
    terminated = (torch.rand(runs, B, generator=g) < 0.3).float()
    batch = Batch(obs, action, torch.randn(runs, B, generator=g), next_obs, terminated)
    return batch, torch.randn(2, runs, B, ACT, generator=g)


def linear_stack(mlp: MLP, params: Tensor) -> nn.Sequential:
    """One network of `mlp` as torch modules."""
    modules: list[nn.Module] = []
    for weight, bias in mlp.layers(params):
        linear = nn.Linear(*weight.shape)
        linear.load_state_dict({"weight": weight.T, "bias": bias[0]})
        norm = [nn.LayerNorm(len(weight.T), mlp.layer_norm_eps, elementwise_affine=False)] if mlp.layer_norm else []
        modules += [linear, *norm, nn.ReLU() if mlp.activation == "relu" else nn.SiLU()]
    return nn.Sequential(*modules[: -1 - mlp.layer_norm])


def flat(net: nn.Module) -> Tensor:
    """Parameters in the order of `MLP`: weights [in, out], then the bias."""
    return torch.cat([(p.detach().T if p.ndim == 2 else p.detach()).flatten() for p in net.parameters()])
