"""Forward and backward pass of many small networks at once, with each step in the form that is fastest for its shape.

What autograd does by itself costs a quarter of an update: products with a single column at 3 % of the matmul peak, a
concatenation of all layers' gradients, gradients of inputs that nobody asks for. The tests compare it with autograd's.

With `precision: bf16` the forward pass computes the layers between the first and the last in bfloat16, the backward
pass all but what LayerNorm hands down: inputs and outputs (a Q of several hundred, the change of a state) need more
than its eight bits, and almost all of the arithmetic is in between. Every product adds up in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from moore.networks.mlp import MLP

# columns up to which element-wise operations take most of the time on a CPU, and torch's LayerNorm is slow
NARROW = 128


class BatchedMLP(torch.autograd.Function):
    """Outputs [n, B, out] of n networks with parameters [n, P] on the columns of inputs [..., B, in_1], ..."""

    @staticmethod
    def forward(ctx: Any, net: MLP, params: Tensor, *inputs: Tensor) -> Tensor:
        ctx.net, ctx.lead, ctx.widths = net, inputs[0].shape[:-2], [x.shape[-1] for x in inputs]
        kept: list[Tensor] = []
        output = outputs(net, params, inputs, kept)
        ctx.save_for_backward(params, *kept)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        params, *kept = ctx.saved_tensors
        _, wants_params, *wants_inputs = ctx.needs_input_grad
        params_grad = torch.empty_like(params) if wants_params else None
        g = _backward(ctx.net, params, kept, grad, params_grad)
        parts = ctx.net.layers(params)[0][0].split(ctx.widths, 1)
        back = lambda part: torch.bmm(g, part.to(g.dtype).mT).to(grad.dtype).unflatten(0, ctx.lead)  # noqa: E731
        wanted = zip(parts, wants_inputs, strict=True)
        return None, params_grad, *(back(part) if wants else None for part, wants in wanted)


def outputs(net: MLP, params: Tensor, inputs: tuple[Tensor, ...], kept: list[Tensor] | None = None) -> Tensor:
    """Return outputs [n, B, out] on the columns of inputs [..., B, in_k].

    Adds what the backward pass needs to `kept`: the columns side by side, of each hidden layer what `_activate` adds.
    """
    *hidden, (weight, bias) = net.layers(params)
    h = x = torch.cat(inputs, -1).flatten(0, -3)  # expanded inputs are copied once
    if kept is not None:
        kept.append(x)
    for number, (w, b) in enumerate(hidden):
        dtype = torch.bfloat16 if net.precision == "bf16" and number else x.dtype
        h = _activate(net, torch.baddbmm(b.to(dtype), h.to(dtype), w.to(dtype)), kept)
    h = h.to(weight.dtype)
    if weight.shape[-1] == 1:  # one column: a product with a matrix would run at a few percent of its speed
        return torch.linalg.vecdot(h, weight.mT)[..., None] + bias
    return torch.baddbmm(bias, h, weight)


def _backward(net: MLP, params: Tensor, kept: list[Tensor], g: Tensor, params_grad: Tensor | None) -> Tensor:
    """Return the gradient at the first layer's outputs before activation; fills params_grad if there is one."""
    layers, per_layer = net.layers(params), (len(kept) - 1) // max(1, len(net.sizes) - 2)
    grads = None if params_grad is None else net.layers(params_grad)
    for number in range(len(layers) - 1, -1, -1):
        weight, _ = layers[number]
        state = kept[1 + (number - 1) * per_layer : 1 + number * per_layer]  # of the layer before
        h = state[-1] if number else kept[0].to(g.dtype)
        g = g.to(h.dtype)
        if grads is not None:
            into, bias_grad = grads[number]
            into.copy_(torch.bmm(g.mT, h).mT if g.shape[-1] == 1 else torch.bmm(h.mT, g))
            torch.sum(g, 1, keepdim=True, dtype=params.dtype, out=bias_grad)
        if number:
            w = weight.to(g.dtype).mT
            g = _activate_backward(net, g * w if g.shape[-1] == 1 else torch.bmm(g, w), state)
    return g


def _activate(net: MLP, z: Tensor, kept: list[Tensor] | None) -> Tensor:
    """Activations of a layer, in the memory of z where possible; adds what their gradient needs, themselves last."""
    needed: list[Tensor] = []
    if net.layer_norm:
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        if z.is_cpu and z.shape[-1] <= NARROW:
            mean = z.mean(-1, keepdim=True)
            centred = z - mean
            rstd = (torch.linalg.vecdot(centred, centred)[..., None] / z.shape[-1] + net.layer_norm_eps).rsqrt()
            needed, z = [z, mean, rstd], centred.mul_(rstd)
        else:
            normal, mean, rstd = torch.native_layer_norm(z, [z.shape[-1]], None, None, net.layer_norm_eps)
            needed, z = [z, mean, rstd], normal
    stored = torch.bfloat16 if net.precision == "bf16" else z.dtype
    if net.activation == "relu":
        h = z.relu_().to(stored)
    elif kept is None:
        h = F.silu(z, inplace=True).to(stored)
    else:
        h = F.silu(z).to(stored)
        needed.append(z.to(stored))
    if kept is not None:
        kept += [*needed, h]
    return h


def _activate_backward(net: MLP, g: Tensor, kept: list[Tensor]) -> Tensor:
    """Return the gradient before a layer's activation from that after it, in its memory where possible."""
    if net.activation == "relu":
        torch.ops.aten.threshold_backward.grad_input(g, kept[-1], 0, grad_input=g)
    else:
        torch.ops.aten.silu_backward.grad_input(g, kept[-2], grad_input=g)
    if not net.layer_norm:
        return g
    z, mean, rstd = kept[:3]
    return torch.ops.aten.native_layer_norm_backward(
        g.to(z.dtype), z, [z.shape[-1]], mean, rstd, None, None, [True, False, False]
    )[0]
