"""What the actor-critic methods share: networks, targets and optimisers of R agents, and one gradient step of each."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.base.strict import FORBID, Count, NonNegative, Positive, Share
from moore.networks.adam import RunAdam
from moore.networks.batch import AnyBatch
from moore.networks.mlp import MLP, Init, divisor
from moore.networks.random import Streams
from moore.networks.state import State
from moore.networks.tracing import is_tracing

# activations of a layer that are held at once where a term multiplies the batch: beyond the caches it only costs
ACTIVATIONS = {"cpu": 2**21, "cuda": 2**28}
# what a method adds to the critics' loss: of a slice of the runs with their parameters and Q-values [R, C, B], [R]
CriticTerm = Callable[[slice, Tensor, Tensor], Tensor]


@dataclass(frozen=True, config=FORBID)
class ActorCriticConfig:
    """Settings of actor and critics in every method; the defaults are those of MOPO's SAC."""

    hidden: tuple[Count, ...] = (256, 256)  # units of each hidden layer, actor and critics
    actor_lr: Positive = 3e-4
    critic_lr: Positive = 3e-4
    gamma: Share = 0.99  # discount
    tau: Share = 0.005  # Polyak rate of the target critics
    batch_size: Count = 256
    num_critics: Count = 2  # RLPD and WSRL: 10
    init: Init = "linear"  # of actor and critics, see moore/networks/mlp.py (Cal-QL orthogonal, RLPD xavier)
    critic_layer_norm: bool = False  # LayerNorm in the critics (RLPD); not in the paper
    layer_norm_eps: Positive = 1e-5  # added to its variance: torch's; Flax, and so RLPD and WSRL, 1e-6
    normalize_obs: bool = False  # standardise network inputs with the offline data's moments; not in the paper
    normalize_eps: NonNegative = 0.0  # added to the deviations that they are divided by (TD3+BC and CORL 1e-3)


class Setup(NamedTuple):
    """Where agents are made: sizes of the task, one seed for each run, stage, device, precision."""

    obs_dim: int
    action_dim: int
    seeds: Sequence[int]
    stage: str = "online"  # or "offline"
    device: torch.device | str = "cpu"
    precision: str = "float32"
    real_share: float = 1.0  # of a batch: its first transitions are real, the rest imagined


class Agent(State):
    """R agents that act and learn; every tensor of the state has the leading run axis.

    A method is a subclass in a file of its own: a `Config`, `act`, `update` and a registration.
    """

    Config: ClassVar[Any] = ActorCriticConfig
    uses_model: ClassVar[bool] = False  # learns from imagined transitions
    batch_size: int
    noise_blocks = 2  # standard normals [noise_blocks, R, B, A] that an update reads
    actor_interval = 1  # critic updates for one update of the actor
    bc_weight: Tensor | None = None  # [R], of behaviour cloning where the method has it, set by the cohort

    def __init__(self, config: Any, setup: Setup) -> None:
        raise NotImplementedError

    @property
    def activations(self) -> int:
        """Numbers that one run has in an update's largest layer; 0: not to be cut into parts of R."""
        return 0

    @staticmethod
    def reads_returns(config: Any) -> bool:
        """Tell whether updates read the data's returns (Cal-QL)."""
        return False

    def fit_to_dataset(self, run: int, obs: Tensor, return_range: float) -> None:
        """Take what one run's settings ask for from its dataset: obs [N, obs_dim], best - worst episode return."""

    def act(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return actions [R, B, A] for obs [R, B, obs_dim]: sampled with standard normal noise, or the mean without."""
        raise NotImplementedError

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool = True) -> dict[str, Tensor]:
        """Update every run once on a batch with fields [R, B, ...] and return metrics [R].

        A pure function of the state, the batch and the noise [noise_blocks, R, B, A], standard normal.
        """
        raise NotImplementedError


class Numbers(State):
    """The real numbers of a configuration as tensors without dimensions."""

    def __init__(self, config: Any, device: torch.device | str) -> None:
        for name, value in vars(config).items():
            if isinstance(value, float):
                setattr(self, name, torch.tensor(value, device=device))


class ActorCritic(Agent):
    """An actor, critics with target networks, and their optimisers."""

    head = 2  # the actor's outputs for each action dimension: mean and log std

    def __init__(self, config: Any, setup: Setup) -> None:
        obs_dim, action_dim, seeds, _, device, precision, _ = setup
        self.config, self.batch_size, self.action_dim = config, config.batch_size, action_dim
        self.actor = MLP((obs_dim, *config.hidden, self.head * action_dim), precision=precision)
        self.critic = MLP(
            (obs_dim + action_dim, *config.hidden, 1),
            layer_norm=config.critic_layer_norm,
            precision=precision,
            layer_norm_eps=config.layer_norm_eps,
        )
        init = Streams(seeds, "init", "sac", device=device).generators
        params = self.actor.init(init, scheme=config.init)
        extra = torch.tensor(self.extra_params(), device=device).expand(len(seeds), -1)
        self.actor_params = torch.cat([params, extra], 1)  # [R, P]
        self.critic_params = self.critic.init(init, config.num_critics, config.init)  # [R, C, P]
        self.critic_target = self.critic_params.clone()
        self.obs_mean = torch.zeros(len(seeds), 1, obs_dim, device=device)
        self.obs_std = torch.ones(len(seeds), 1, obs_dim, device=device)
        self.actor_adam = RunAdam(self.actor_params, config.actor_lr)
        self.critic_adam = RunAdam(self.critic_params, config.critic_lr)
        self._numbers = Numbers(config, device)

    @property
    def numbers(self) -> Any:
        """The configuration, for its numbers; tensors while an update is traced: a library then serves all values."""
        return self._numbers if is_tracing() else self.config

    @property
    def activations(self) -> int:
        return self.config.batch_size * self.config.num_critics * max(self.config.hidden, default=1)

    def extra_params(self) -> list[float]:
        """Return the first values of what is trained beside the actor's network, behind its flat parameters."""
        return []

    def fit_to_dataset(self, run: int, obs: Tensor, return_range: float) -> None:
        """Standardise one run's observations with the moments of obs [N, obs_dim], where the config asks for it."""
        if self.config.normalize_obs:
            self.obs_mean[run, 0], self.obs_std[run, 0] = obs.mean(0), divisor(obs.std(0) + self.config.normalize_eps)

    def step_critics(
        self, obs: Tensor, action: Tensor, target: Tensor, extra: CriticTerm | None = None
    ) -> dict[str, Tensor]:
        """Take one Adam step on the squared error to target [R, B], summed over critics, plus an extra term.

        The losses are summed over runs: the gradient of run r then comes from its own loss alone.
        """
        slices = [slice(None)]
        if not is_tracing() and extra is not None:
            at_once = max(1, ACTIVATIONS.get(target.device.type, ACTIVATIONS["cuda"]) // self.activations)
            slices = [slice(first, first + at_once) for first in range(0, len(target), at_once)]
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for runs in slices:
            params = self.critic_params[runs].detach().requires_grad_()
            q = self.q(params, obs[runs], action[runs])  # [R, C, B]
            loss = (q - target[runs, None]).square().mean(-1).sum(-1)  # [R]
            if extra is not None:
                loss = loss + extra(runs, params, q)
            parts.append((torch.autograd.grad(loss.sum(), params)[0], loss.detach(), q.detach()))
        grad, loss, q = parts[0] if len(parts) == 1 else (torch.cat(part) for part in zip(*parts, strict=True))
        self.critic_adam.step(grad)
        return {"train/critic_loss": loss, "train/q": q.mean((1, 2))}

    def step_actor(self, loss: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Take one Adam step on the loss [R]; loss(actor_params) gives it and another tensor; returns both detached."""
        params = self.actor_params.detach().requires_grad_()
        value, other = loss(params)
        (grad,) = torch.autograd.grad(value.sum(), params)
        self.actor_adam.step(grad)
        return value.detach(), other.detach()

    def update_targets(self) -> None:
        """Move the target critics by Polyak averaging."""
        self.move(self.critic_target, self.critic_params)

    def move(self, target: Tensor, params: Tensor) -> None:
        """Move a target's parameters towards `params`, by a share tau of the way."""
        if is_tracing():  # lerp_ takes no tensor of one number then
            target.add_(self.numbers.tau * (params - target))
        else:
            target.lerp_(params, self.config.tau)

    def standardize(self, obs: Tensor) -> Tensor:
        """Return the network inputs of observations [R, B, obs_dim]."""
        return (obs - self.obs_mean) / self.obs_std if self.config.normalize_obs else obs

    def q(self, params: Tensor, obs: Tensor, action: Tensor) -> Tensor:
        """Return Q-values [R, C, B] of all critics for standardised obs [R, B, obs_dim] and action [R, B, A]."""
        inputs = (x[:, None].expand(-1, params.shape[1], -1, -1) for x in (obs, action))
        return self.critic(params, *inputs).squeeze(-1)
