"""What processes forked for tests have in common: torch, with what its first optimiser imports."""

import torch

import moore.run.unit  # noqa: F401

torch.set_num_threads(1)
torch.optim.Adam([torch.zeros(1, requires_grad=True)])
