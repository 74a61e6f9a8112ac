"""One run of every method, slow and plain: torch.nn, torch.optim, and the formulas of the papers."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from moore.networks.batch import AnyBatch, Batch, BatchWithReturns
from tests.support.agents import linear_stack

Losses = dict[str, float]  # by the end of the metric's name


class One:
    """Networks and optimisers of one run, copied from an agent; a method's update is a subclass."""

    least_log_std = -5.0  # of AWAC and IQL

    def __init__(self, agent: Any, run: int) -> None:
        self.c, n = agent.config, agent.actor.num_params
        params = agent.actor_params[run]
        self.actor = linear_stack(agent.actor, params[:n])
        self.extra = params[n:].detach().clone().requires_grad_()  # log std of AWAC and IQL; CQL's factor and offset
        self.critics = [linear_stack(agent.critic, row) for row in agent.critic_params[run]]
        self.targets, self.actor_target = copy.deepcopy((self.critics, self.actor))
        self.actor_opt = torch.optim.Adam([*self.actor.parameters(), self.extra], self.c.actor_lr)
        self.critic_opt = torch.optim.Adam([p for q in self.critics for p in q.parameters()], self.c.critic_lr)

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool) -> Losses:
        """One update on a batch [B] with standardised observations and noise [blocks, B, A]."""
        raise NotImplementedError

    def gaussian(self, obs: Tensor) -> Normal:
        """The policy of AWAC and IQL."""
        return Normal(self.actor(obs).tanh(), self.extra.clamp(self.least_log_std, 2).exp())

    def fit_critics(self, batch: AnyBatch, next_value: Tensor, scale: float = 1.0) -> float:
        y = scale * batch.reward + self.c.gamma * (1 - batch.terminated) * next_value
        return descend(self.critic_opt, self.squared_error(batch, y))

    def squared_error(self, batch: AnyBatch, y: Tensor) -> Tensor:
        return sum((((q_of(q, batch.obs, batch.action) - y) ** 2).mean() for q in self.critics), torch.zeros(()))

    def polyak(self, nets: Sequence[nn.Module], targets: Sequence[nn.Module]) -> None:
        for net, target in zip(nets, targets, strict=True):
            for p, slow in zip(net.parameters(), target.parameters(), strict=True):
                slow.data = (1 - self.c.tau) * slow.data + self.c.tau * p.data


def q_of(critic: nn.Module, obs: Tensor, action: Tensor) -> Tensor:
    return critic(torch.cat([obs, action], -1))[..., 0]


def smallest(critics: Sequence[nn.Module], obs: Tensor, action: Tensor) -> Tensor:
    return torch.stack([q_of(q, obs, action) for q in critics]).min(0).values


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def descend_together(*steps: tuple[torch.optim.Optimizer, Tensor]) -> list[float]:
    """Each optimiser on the gradient of its loss, all gradients before the first step."""
    owned = [[p for group in optimizer.param_groups for p in group["params"]] for optimizer, _ in steps]
    grads = [
        torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
        for (_, loss), params in zip(steps, owned, strict=True)
    ]
    for (optimizer, _), params, own in zip(steps, owned, grads, strict=True):
        for p, grad in zip(params, own, strict=True):
            p.grad = grad
        optimizer.step()
    return [loss.item() for _, loss in steps]


def squashed(head: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """tanh of a Gaussian with mean and log std `head`, and its log-density."""
    mean, log_std = head.chunk(2, -1)
    gaussian = Normal(mean, log_std.exp())
    x = mean + log_std.exp() * noise
    return x.tanh(), (gaussian.log_prob(x) - torch.log(1 - x.tanh() ** 2)).sum(-1)


class OneAWAC(One):
    """arXiv 2006.09359."""

    least_log_std = -20.0

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool) -> Losses:
        with torch.no_grad():
            policy = self.gaussian(batch.next_obs)
            next_action = (policy.mean + policy.stddev * noise[0]).clamp(-1, 1)
            next_value = smallest(self.targets, batch.next_obs, next_action)
        critic_loss = self.fit_critics(batch, next_value)
        policy = self.gaussian(batch.obs)
        with torch.no_grad():
            own = (policy.mean + policy.stddev * noise[1]).clamp(-1, 1)
            advantage = smallest(self.critics, batch.obs, batch.action) - smallest(self.critics, batch.obs, own)
            weight = torch.minimum((advantage / self.c.temperature).exp(), torch.tensor(self.c.max_weight))
        log_prob = policy.log_prob(batch.action).sum(-1)
        actor_loss = descend(self.actor_opt, -(weight * log_prob).mean())
        self.polyak(self.critics, self.targets)
        return {"critic_loss": critic_loss, "actor_loss": actor_loss}


class OneIQL(One):
    """arXiv 2110.06169."""

    def __init__(self, agent: Any, run: int) -> None:
        super().__init__(agent, run)
        self.value = linear_stack(agent.value, agent.value_params[run])
        self.value_opt = torch.optim.Adam(self.value.parameters(), self.c.value_lr)
        self.scale = float(agent.reward_scale[run])

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool) -> Losses:
        q = smallest(self.targets, batch.obs, batch.action).detach()
        u = q - self.value(batch.obs)[:, 0]
        value_loss = descend(self.value_opt, ((self.c.expectile - (u < 0).double()).abs() * u**2).mean())
        advantage = q - self.value(batch.obs)[:, 0].detach()
        weight = torch.minimum((advantage / self.c.temperature).exp(), torch.tensor(self.c.max_weight))
        actor_loss = descend(self.actor_opt, -(weight * self.gaussian(batch.obs).log_prob(batch.action).sum(-1)).mean())
        critic_loss = self.fit_critics(batch, self.value(batch.next_obs)[:, 0].detach(), self.scale)
        self.polyak(self.critics, self.targets)
        return {"critic_loss": critic_loss, "actor_loss": actor_loss, "value_loss": value_loss}


class OneTD3BC(One):
    """arXiv 2106.06860."""

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool) -> Losses:
        with torch.no_grad():
            smoothing = (self.c.target_noise * noise[0]).clamp(-self.c.target_noise_clip, self.c.target_noise_clip)
            next_action = (self.actor_target(batch.next_obs).tanh() + smoothing).clamp(-1, 1)
            next_value = smallest(self.targets, batch.next_obs, next_action)
        losses = {"critic_loss": self.fit_critics(batch, next_value)}
        if update_actor:
            action = self.actor(batch.obs).tanh()
            q = q_of(self.critics[0], batch.obs, action)
            weight = 2.5 / q.abs().mean().detach()
            loss = -weight * q.mean() + nn.functional.mse_loss(action, batch.action)
            losses["actor_loss"] = descend(self.actor_opt, loss)
            self.polyak([*self.critics, self.actor], [*self.targets, self.actor_target])
        return losses


class OneSAC(One):
    """arXiv 1812.05905, with REDQ's subsets (2101.05982), CQL's term (2006.04779) and Cal-QL's bound (2303.05479)."""

    num_real = 8  # of a batch with imagined transitions, which are cloned where there is a weight for it

    def __init__(self, agent: Any, run: int) -> None:
        super().__init__(agent, run)
        self.coef = getattr(agent, "coef", 0.0)
        self.joint = getattr(self.c, "joint_step", False) and agent.actor_interval == 1
        self.entropy = -float(agent.action_dim) if self.c.target_entropy is None else self.c.target_entropy
        self.log_alpha = torch.tensor(self.c.init_alpha).log().requires_grad_()
        self.bc_weight = float(agent.bc_weight[run]) if self.c.bc_coef else 0.0
        self.alpha_opt = torch.optim.Adam([self.log_alpha], self.c.alpha_lr)

    def head(self, obs: Tensor) -> Tensor:
        """Mean and log std before tanh; Cal-QL's log std has a learned factor and offset."""
        mean, log_std = self.actor(obs).chunk(2, -1)
        return torch.cat([mean, self.extra[0] * log_std + self.extra[1] if len(self.extra) else log_std], -1)

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool) -> Losses:
        c, alpha = self.c, self.log_alpha.exp().detach()
        with torch.no_grad():
            next_action, next_log_prob = squashed(self.head(batch.next_obs), noise[0])
            chosen = list(range(c.num_critics))
            if c.target_critics < c.num_critics:
                keys = noise[2].flatten().tolist()
                chosen = sorted(chosen, key=lambda k: keys[k])[: c.target_critics]
            next_value = smallest([self.targets[k] for k in chosen], batch.next_obs, next_action)
            if c.entropy_backup:
                next_value = next_value - alpha * next_log_prob
            y = batch.reward + c.gamma * (1 - batch.terminated) * next_value
        own = noise[2 if c.target_critics == c.num_critics else 3 :]
        sampled = self.candidates(batch, own) if self.coef else None
        critic_loss = self.squared_error(batch, y)
        if sampled is not None:
            for critic in self.critics:
                critic_loss = critic_loss + self.coef * conservative(critic, batch, *sampled).mean()
        if not update_actor:
            losses = {"critic_loss": descend(self.critic_opt, critic_loss)}
        elif self.joint:
            steps = (self.critic_opt, critic_loss), *self.actor_steps(batch, noise[1], alpha)
            losses = dict(zip(("critic_loss", "actor_loss"), descend_together(*steps), strict=False))
        else:
            losses = {"critic_loss": descend(self.critic_opt, critic_loss)}
            losses["actor_loss"] = descend_together(*self.actor_steps(batch, noise[1], alpha))[0]
        self.polyak(self.critics, self.targets)
        return losses

    def actor_steps(self, batch: AnyBatch, noise: Tensor, alpha: Tensor) -> list[tuple[torch.optim.Optimizer, Tensor]]:
        """The optimisers of actor and temperature with their losses, at the critics as they are."""
        action, log_prob = squashed(self.head(batch.obs), noise)
        q = torch.stack([q_of(critic, batch.obs, action) for critic in self.critics])
        value = q.mean(0) if self.c.actor_value == "mean" else q.min(0).values
        multiplier = self.log_alpha if self.c.alpha_loss == "log_alpha" else self.log_alpha.exp()
        temperature_loss = (-multiplier * (log_prob.detach() + self.entropy)).mean()
        loss = (alpha * log_prob - value).mean()
        if self.c.bc_coef:  # TD3+BC on the real transitions, which come first
            mean = self.head(batch.obs[: self.num_real]).chunk(2, -1)[0].tanh()
            cloning = nn.functional.mse_loss(mean, batch.action[: self.num_real])
            loss = loss / value.abs().mean().detach() + self.bc_weight * cloning
        return [(self.actor_opt, loss), (self.alpha_opt, temperature_loss)]

    def candidates(self, batch: AnyBatch, noise: Tensor) -> tuple[Tensor, Tensor, int]:
        """Uniform actions, as many of the policy at s and as many at s' [3 n, B, A]; log-densities [3 n, B]; n."""
        n, (count, dim) = len(noise) // 3, batch.action.shape
        drawn = [(2 * Normal(0.0, 1.0).cdf(block) - 1, torch.full((count,), 0.5**dim).log()) for block in noise[:n]]
        drawn += [squashed(self.head(batch.obs).detach(), block) for block in noise[n : 2 * n]]
        drawn += [squashed(self.head(batch.next_obs).detach(), block) for block in noise[2 * n :]]
        return torch.stack([action for action, _ in drawn]), torch.stack([density for _, density in drawn]), n


def conservative(critic: nn.Module, batch: AnyBatch, action: Tensor, log_density: Tensor, n: int) -> Tensor:
    """log sum exp(Q) / density over the candidates, all at s, minus Q(s, a); Cal-QL: policy actions at least G."""
    value = q_of(critic, batch.obs.expand(len(action), -1, -1), action)
    if isinstance(batch, BatchWithReturns):
        value = torch.stack([v if k < n else torch.maximum(v, batch.return_to_go) for k, v in enumerate(value)])
    return (value.exp() / log_density.exp()).sum(0).log() - q_of(critic, batch.obs, batch.action)


class Balanced:
    """Balanced Replay's online ensemble (arXiv 2107.00591): the agents of one run share temperature and policy."""

    def __init__(self, agents: Sequence[OneSAC]) -> None:
        self.agents, self.log_alpha = agents, agents[0].log_alpha
        self.alpha_opt = agents[0].alpha_opt

    def head(self, obs: Tensor) -> Tensor:
        """Mean and log std before tanh of the Gaussian with the moments of the actors' mixture."""
        heads = [one.head(obs).chunk(2, -1) for one in self.agents]
        mean = torch.stack([m for m, _ in heads]).mean(0)
        square = torch.stack([m**2 + (2 * log_std).exp() for m, log_std in heads]).mean(0)
        return torch.cat([mean, (square - mean**2).sqrt().log()], -1)

    def update(self, batch: Batch, noise: Tensor) -> Losses:
        c, alpha = self.agents[0].c, self.log_alpha.exp().detach()
        action, log_prob = squashed(self.head(batch.obs), noise[1])
        value = torch.stack([smallest(one.critics, batch.obs, action) for one in self.agents]).mean(0)
        actor_loss = (alpha * log_prob - value).mean()
        with torch.no_grad():
            next_action, next_log_prob = squashed(self.head(batch.next_obs), noise[0])
        steps = []
        for one in self.agents:
            with torch.no_grad():
                next_value = smallest(one.targets, batch.next_obs, next_action) - alpha * next_log_prob
                y = batch.reward + c.gamma * (1 - batch.terminated) * next_value
            steps += [(one.actor_opt, actor_loss), (one.critic_opt, one.squared_error(batch, y))]
        steps.append((self.alpha_opt, (-self.log_alpha * (log_prob.detach() + self.agents[0].entropy)).mean()))
        descend_together(*steps)
        for one in self.agents:
            one.polyak(one.critics, one.targets)
        return {"actor_loss": actor_loss.item()}
