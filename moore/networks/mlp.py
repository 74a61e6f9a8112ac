"""Networks on the run axis.

A network is one flat parameter tensor `[..., P]` (leading axes: runs, then ensemble members) and a stateless `MLP`
that knows where each layer lies in it. One batched matmul per layer serves all leading axes; copying, forking,
averaging or freezing runs is plain indexing of one tensor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from moore.networks.fast_mlp import BatchedMLP, outputs
from moore.networks.tracing import is_tracing

# of the matrix products: float32; tf32, the same but for a GPU's tensor cores, which keep 10 bits of each factor; bf16,
# the products between the first and the last layer in bfloat16. Parameters, optimisers and losses are float32 always.
Precision = Literal["float32", "tf32", "bf16"]
# of parameters: uniform in +-1/sqrt(fan_in), torch.nn.Linear's default; weights orthogonal with gain sqrt(2), that of
# the last layer 0.01, as in Cal-QL's code, or Xavier uniform, as in RLPD's, both with biases of zero
Init = Literal["linear", "orthogonal", "xavier"]
MIN_STD = 1e-6  # a column that varies less is constant


@dataclass(frozen=True)
class MLP:
    """A multi-layer perceptron whose parameters live in one flat tensor.

    sizes: (in, hidden..., out). layer_norm: LayerNorm without affine before each activation (RLPD, arXiv 2302.02948).
    precision: only bf16 is the network's own matter, tf32 is a switch of the process.
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    layer_norm: bool = False
    precision: str = "float32"
    layer_norm_eps: float = 1e-5

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(in, out) of each layer; a layer's weight [in, out] is followed by its bias [out] in the flat tensor."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def num_params(self) -> int:
        """P, the length of one network's flat parameter vector."""
        return sum(n_in * n_out + n_out for n_in, n_out in self.shapes)

    def layers(self, params: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return views (weight [..., in, out], bias [..., 1, out]) of flat parameters [..., P]."""
        lead = params.shape[:-1]
        pieces = params.split([n for n_in, n_out in self.shapes for n in (n_in * n_out, n_out)], dim=-1)
        return [
            (pieces[2 * i].view(*lead, n_in, n_out), pieces[2 * i + 1].unsqueeze(-2))
            for i, (n_in, n_out) in enumerate(self.shapes)
        ]

    def __call__(self, params: Tensor, *inputs: Tensor) -> Tensor:
        """Return outputs [..., B, out] of networks with parameters [..., P] on all inputs' columns [..., B, in_k].

        Inputs have the parameters' leading axes. A gradient is computed for those that ask for one.
        """
        lead = params.shape[:-1]
        assert all(x.shape[:-2] == lead for x in inputs), f"leading axes: {lead} and {[x.shape for x in inputs]}"
        if is_tracing():
            return self.plain(params, *inputs)
        params = params.flatten(0, -2)
        if torch.is_grad_enabled() and any(x.requires_grad for x in (params, *inputs)):
            return BatchedMLP.apply(self, params, *inputs).unflatten(0, lead)
        return outputs(self, params, inputs).unflatten(0, lead)

    def plain(self, params: Tensor, *inputs: Tensor) -> Tensor:
        """Compute the outputs layer by layer, with torch's own gradients: the reference, and what is compiled.

        In bf16 the first and the last layer are float32 in both directions; `__call__` rounds their gradients, too.
        """
        h = torch.cat(inputs, -1)
        stored = torch.bfloat16 if self.precision == "bf16" else h.dtype
        *hidden, (weight, bias) = self.layers(params)
        for number, (w, b) in enumerate(hidden):
            dtype = stored if number else h.dtype
            h = h @ w.to(dtype) + b.to(dtype)
            if self.layer_norm:
                h = F.layer_norm(h.to(params.dtype), h.shape[-1:], eps=self.layer_norm_eps)
            h = (F.relu(h) if self.activation == "relu" else F.silu(h)).to(stored)
        return h.to(weight.dtype) @ weight + bias

    def init(
        self, generators: Sequence[torch.Generator], members: int | None = None, scheme: Init = "linear"
    ) -> Tensor:
        """Return fresh parameters [R, P] (or [R, members, P]), run r's from generators[r] alone."""
        gains = [math.sqrt(2.0)] * (len(self.shapes) - 1) + [0.01]

        def network(generator: torch.Generator) -> Tensor:
            layers = zip(self.shapes, gains, strict=True)
            return torch.cat([initial_layer(*shape, scheme, gain, generator) for shape, gain in layers])

        runs = [torch.stack([network(generator) for _ in range(members or 1)]) for generator in generators]
        return torch.stack(runs) if members else torch.cat(runs)


def initial_layer(n_in: int, n_out: int, scheme: Init, gain: float, generator: torch.Generator) -> Tensor:
    """Return a layer's flat weight [in, out] and bias [out]; `gain` is that of an orthogonal weight."""
    if scheme == "linear":
        draw = torch.rand(n_in * n_out + n_out, generator=generator, device=generator.device)
        return (2 * draw - 1) * (1.0 / math.sqrt(n_in))
    weight = torch.empty(n_in, n_out, device=generator.device)
    if scheme == "orthogonal":
        torch.nn.init.orthogonal_(weight, gain, generator)
    else:
        torch.nn.init.xavier_uniform_(weight, generator=generator)
    return torch.cat([weight.flatten(), weight.new_zeros(n_out)])


def divisor(std: Tensor) -> Tensor:
    """Return standard deviations to divide by: 1 for a constant column, whose least change would be enormous."""
    return torch.where(std > MIN_STD, std, 1.0)
