"""Priorities from how online a transition looks (Balanced Replay, arXiv 2107.00591; shlee94/Off2OnRL).

A network w(s, a) estimates the density ratio of online to offline data; transitions are drawn in proportion to a
tempered w. New online transitions enter with the largest priority there has been; in a model-based run they enter at
the next retraining, when all priorities are computed anew, and are not drawn before.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.algorithm.replay import RealBuffer
from moore.algorithm.sampling import Mixture
from moore.base.strict import FORBID, Count, ModelOnly, Positive, Share
from moore.networks.adam import RunAdam
from moore.networks.batch import Batch
from moore.networks.mlp import MLP
from moore.networks.random import Streams, scale_to_index
from moore.networks.state import State


@dataclass(frozen=True, config=FORBID)
class DensityRatioConfig:
    """Settings of the strategy `density_ratio`; the defaults are the authors'."""

    hidden: tuple[Count, ...] = (256, 256)
    lr: Positive = 3e-4
    batch_size: Count = 256  # uniform offline and as many uniform online transitions for each update of w
    temperature: Positive = 5.0  # priorities are w^(1 / temperature)
    first_share: Share = 0.5  # share of the first epoch's transitions among the draws, before w has a say
    model_updates: ModelOnly[Count] = 250  # steps of w before each ensemble training, where w draws its data; ours


MIN_PRIORITY, MAX_PRIORITY = 1e-3, 1e3
EPS = 1e-10
CHUNK = 2**13  # rows of one forward pass over the whole buffer


class DensityRatio(State):
    """The networks and the priorities [R, offline rows + online capacity] of R runs."""

    def __init__(
        self, config: DensityRatioConfig, buffer: RealBuffer, epoch_steps: int, seeds: Sequence[int], precision: str
    ) -> None:
        self.config, self._buffer, device = config, buffer, buffer.rows.device
        self.net = MLP((buffer.obs_dim + buffer.action_dim, *config.hidden, 1), precision=precision)
        self.params = self.net.init(Streams(seeds, "init", "density_ratio", device=device).generators)  # [R, P]
        self.params[:, -1] = 1.0  # the last bias: w starts near 1, everything equally likely
        self.adam = RunAdam(self.params, config.lr)
        self.width = max(buffer.offline_size)
        self._offline_size = torch.tensor(buffer.offline_size, device=device)[:, None]  # [R, 1]
        self.priorities = torch.ones(len(seeds), self.width + buffer.online_capacity, device=device)
        share = config.first_share
        first = [n * share / ((1 - share) * epoch_steps) for n in buffer.offline_size]
        self.max_priority = torch.tensor(first, device=device)  # [R]
        self.known_online = 0  # online transitions that have a priority

    def mixture(self, run: int) -> Mixture:
        """Return the distribution that one run's policy batches are drawn from."""
        offline = self.priorities[run, : self._buffer.offline_size[run]]
        online = self.priorities[run, self.width : self.width + self.known_online]
        on, off = online.sum().double(), offline.sum().double()
        return Mixture(on / (on + off), offline, online)

    def add_online(self) -> None:
        """Give the transitions since the last call the largest priority so far."""
        first, self.known_online = self.known_online, self._buffer.online_size
        self.priorities[:, self.width + first : self.width + self.known_online] = self.max_priority[:, None]

    def update(self, drawn: Tensor, streams: Streams) -> dict[str, Tensor]:
        """Take one gradient step of w, then set new priorities for the drawn rows [R, B]. Returns metrics [R]."""
        grad, w_offline, metrics = self._gradient(streams)
        with torch.no_grad():  # with the networks before their step, as in the authors' code
            tempered = w_offline ** (1.0 / self.config.temperature)
            self._set_priorities(drawn, tempered.mean(1))
        self.adam.step(grad)
        return metrics

    def train(self, streams: Streams) -> dict[str, Tensor]:
        """`model_updates` gradient steps of w, then new priorities for every row; for the draws of model data."""
        for _ in range(self.config.model_updates):
            grad, _, metrics = self._gradient(streams)
            self.adam.step(grad)
        with torch.no_grad():
            offline_mean = self._offline_mean()
            columns = torch.arange(max(self.width, self.known_online), device=self.priorities.device)
            for chunk in columns.split(CHUNK):
                offline = chunk.minimum(self._offline_size - 1)  # where a run has fewer rows its last one is repeated
                self._set_priorities(self._buffer.offline_start[:, None] + offline, offline_mean)
                if self.known_online:
                    online = chunk.clamp(max=self.known_online - 1).expand(len(self.params), -1)
                    self._set_priorities(self._buffer.online_start[:, None] + online, offline_mean)
        return metrics

    def _offline_mean(self) -> Tensor:
        """Mean tempered w [R] over the offline rows."""
        total = torch.zeros(len(self.params), device=self.params.device)
        for chunk in torch.arange(self.width, device=self.params.device).split(CHUNK):
            rows = self._buffer.offline_start[:, None] + chunk.minimum(self._offline_size - 1)
            tempered = self.ratio(self.params, self._buffer.gather(rows)) ** (1.0 / self.config.temperature)
            total += (tempered * (chunk < self._offline_size)).sum(1)
        return total / self._offline_size[:, 0]

    def _gradient(self, streams: Streams) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the gradient of the loss on fresh batches, w of the offline one [R, B], and metrics [R]."""
        uniforms = streams.uniform(2, self.config.batch_size)
        buffer = self._buffer
        offline = buffer.gather(buffer.offline_start[:, None] + scale_to_index(uniforms[:, 0], self._offline_size))
        online = buffer.gather(buffer.online_start[:, None] + scale_to_index(uniforms[:, 1], buffer.online_size))
        params = self.params.detach().requires_grad_()
        w_offline, w_online = self.ratio(params, offline), self.ratio(params, online)
        loss = ratio_loss(w_offline, w_online)
        (grad,) = torch.autograd.grad(loss.sum(), params)
        metrics = {"train/ratio_loss": loss.detach(), "sampling/ratio_online": w_online.detach().mean(1)}
        return grad, w_offline.detach(), metrics

    def _set_priorities(self, rows: Tensor, offline_mean: Tensor) -> None:
        """Set the priorities of rows [R, B] of the buffer by the current networks; offline_mean [R] of tempered w."""
        new = priority(self.ratio(self.params, self._buffer.gather(rows)), offline_mean, self.config.temperature)
        start = self._buffer.online_start[:, None]
        column = torch.where(rows >= start, self.width + rows - start, rows - self._buffer.offline_start[:, None])
        self.priorities.scatter_(1, column, new)
        self.max_priority = torch.maximum(self.max_priority, new.amax(1))

    def ratio(self, params: Tensor, batch: Batch) -> Tensor:
        """w [R, B], 0 or more."""
        return F.relu(self.net(params, batch.obs, batch.action).squeeze(-1))


def ratio_loss(w_offline: Tensor, w_online: Tensor) -> Tensor:
    """Return the negative lower bound of the Jensen-Shannon divergence, [R] from w [R, B] (Off2On, eq. 4).

    E_off[-log(2 / (w + 1))] - E_on[log(2 w / (w + 1))]: f-GAN's bound with f'(w) as the dual function, so that the
    optimal w is the density ratio of online to offline data.
    """
    offline = -(2.0 / (w_offline + 1.0)).log().mean(-1)
    return offline - (2.0 * w_online / (w_online + 1.0) + EPS).log().mean(-1)


def priority(w: Tensor, offline_mean: Tensor, temperature: float) -> Tensor:
    """w^(1 / temperature) over its mean on offline data [R], clipped to [1e-3, 1e3]; w [R, B].

    w is exactly 0 where the network is sure that it sees offline data, so the mean can be 0 too.
    """
    return (w ** (1.0 / temperature) / (offline_mean[:, None] + EPS)).clamp(MIN_PRIORITY, MAX_PRIORITY)
