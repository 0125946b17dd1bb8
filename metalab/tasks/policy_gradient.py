"""The policy gradient: what it follows, how its variance is held down, and how it is differentiated again.

Williams: Simple statistical gradient-following algorithms for connectionist reinforcement learning. Machine
Learning 8, 1992 (REINFORCE). Duan, Chen, Houthooft, Schulman, Abbeel: Benchmarking deep reinforcement learning
for continuous control. ICML 2016, arXiv:1604.06778 (the baseline of linear features).

Legend: T tasks, n trajectories, H time steps, f features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Curvature = Literal["log", "ratio", "dice"]
RIDGE = 1e-5
"""What Duan et al.'s code adds to the diagonal of the baseline's normal equations."""
TIME_UNIT = 100.0
"""Time steps in one unit of the baseline's time features."""


def to_go(rewards: Tensor, discount: float) -> Tensor:
    """sum_{s >= t} discount^(s - t) r_s of rewards (.., H), for each t: (.., H)."""
    found, ahead = torch.empty_like(rewards), torch.zeros_like(rewards[..., 0])
    for t in range(rewards.shape[-1] - 1, -1, -1):
        ahead = rewards[..., t] + discount * ahead
        found[..., t] = ahead
    return found


def features(observations: Tensor) -> Tensor:
    """Duan et al.'s features of observations (T, n, H, d): o, o^2, t, t^2, t^3, 1 with t in units of 100 steps."""
    o = observations.clamp(-10, 10)
    t = (torch.arange(o.shape[-2], dtype=o.dtype, device=o.device) / TIME_UNIT)[:, None].expand(*o.shape[:-1], 1)
    return torch.cat([o, o.square(), t, t**2, t**3, torch.ones_like(t)], -1)


def baseline(observations: Tensor, returns: Tensor, counts: Tensor) -> Tensor:
    """Least squares of the returns (T, n, H) on the features, for each task by itself: what it predicts, (T, n, H).

    Only steps with `counts` (T, n, H) = 1 enter the fit; it is solved in float64.
    """
    f = features(observations).flatten(1, 2).double()
    weighted = f * counts.flatten(1, 2)[..., None]
    ridge = RIDGE * torch.eye(f.shape[-1], dtype=f.dtype, device=f.device)
    normal = weighted.transpose(1, 2) @ f + ridge
    target = weighted.transpose(1, 2) @ returns.flatten(1, 2)[..., None].double()
    # With the ridge there is a solution; to be told so, a GPU would have to be waited for.
    weights, _ = torch.linalg.solve_ex(normal, target)
    return (f @ weights)[..., 0].to(returns).view_as(returns)


def standardised(advantages: Tensor, counts: Tensor) -> Tensor:
    """Advantages (T, n, H) with mean 0 and standard deviation 1 over the counted steps of each task, 0 elsewhere."""
    size = counts.sum((1, 2), keepdim=True).clamp(min=1)
    centred = (advantages - (advantages * counts).sum((1, 2), keepdim=True) / size) * counts
    return centred / (centred.square().sum((1, 2), keepdim=True) / size + 1e-8).sqrt()


def surrogate(log_prob: Tensor, advantages: Tensor, curvature: Curvature) -> Tensor:
    """A number for each time step whose gradient is the policy gradient's term A_t grad log pi_t: (T, n, H).

    All three have that first derivative, and differ in the second, which MAML needs:

    log     log pi_t A_t (Finn et al. 2017's code): the trajectories are taken as if they did not depend on the
            parameters, so that E[A grad log pi grad log pi^T] is missing from the curvature.
    ratio   pi_t / stop(pi_t) A_t (Rothfuss et al. 2019, arXiv:1810.06784, eq. 9): that term for each step by itself;
            left out is what an action changes in the later ones.
    dice    (box_{<=t} - box_{<t}) A_t, box the product of the ratios so far (Farquhar et al. 2019,
            arXiv:1909.10549): unbiased, but of a large variance on long horizons.
    """
    if curvature == "log":
        return log_prob * advantages
    if curvature == "ratio":
        return (log_prob - log_prob.detach()).exp() * advantages
    upto = log_prob.cumsum(-1)
    before = upto - log_prob
    return ((upto - upto.detach()).exp() - (before - before.detach()).exp()) * advantages
