"""torch.optim.Adam with a faster start."""

import inspect

import torch


class Adam(torch.optim.Adam):
    """torch.optim.Adam, to the bit, without its import of torch's compiler, which takes two seconds.

    Its methods are wrapped so that the first call imports the compiler, only to exclude them from compilation
    (torch/_compile.py, torch/optim/optimizer.py). Nothing here is compiled, so these are the methods themselves.
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
