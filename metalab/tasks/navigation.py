"""2-D point navigation (Finn et al. 2017, arXiv:1703.03400, section 5.3): find a goal that nobody names.

A point starts at the origin and moves by at most 0.1 along each axis at a time. The reward of a time step is minus
the Euclidean distance to the goal (as in the paper's code; its text says squared), and an episode ends within 0.01
of the goal along both axes. Only the rewards tell one task from another.

The policy is Gaussian: the network gives the mean of an action and the logarithm of its standard deviation. Its
chance is drawn beforehand: x holds standard normal numbers, y the goals, and to attempt an example is to act out one
trajectory. So a task is as fixed as an image, while the actions follow the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from metalab.settings import setting
from metalab.tasks.base import Examples, Split, TaskBatch, TaskFamily, shuffled
from metalab.tasks.policy_gradient import Curvature, baseline, standardised, surrogate, to_go

LARGEST_STEP = 0.1
"""How far the point can move along an axis in one time step; the unit of the network's outputs."""
WITHIN = 0.01
"""An episode ends this close to the goal, along both axes."""
HALF = 0.5
"""Goals lie in the square from -0.5 to 0.5."""
UNIT = HALF / 3**0.5
"""The network reads positions in units of the goals' standard deviation."""
LOG_STD = (-3.0, 1.5)
"""How far the logarithm of the standard deviation can be adapted: a policy without chance learns no more."""


class Trajectories(NamedTuple):
    """What `Navigation.attempt` packs along the last axis of a prediction (T, n, H, 5)."""

    positions: Tensor
    """After each time step: (T, n, H, 2). They stay where an episode ends."""
    log_prob: Tensor
    """Of each action, but for a constant: (T, n, H)."""
    rewards: Tensor
    """(T, n, H), 0 after the end."""
    counts: Tensor
    """1 while the episode goes on, then 0: (T, n, H)."""

    @classmethod
    def unpack(cls, prediction: Tensor) -> Trajectories:
        return cls(prediction[..., :2], *prediction[..., 2:].unbind(-1))

    def pack(self) -> Tensor:
        return torch.cat([self.positions, torch.stack(self[1:], -1)], -1)

    @property
    def observations(self) -> Tensor:
        """Where the point stood when it chose each action: (T, n, H, 2)."""
        start = torch.zeros_like(self.positions[..., :1, :])
        return torch.cat([start, self.positions[..., :-1, :]], -2)


class Navigation(TaskFamily):
    """Examples are trajectories: x (T, n, H, 2) noise, y (T, n, 2) the goal."""

    title: ClassVar[str] = "Navigation"
    summary: ClassVar[str] = "Find a goal that only the rewards tell of."
    kind: ClassVar[Literal["regression", "classification", "generation", "reinforcement"]] = "reinforcement"

    name: Literal["navigation"] = "navigation"
    shots: int = setting(
        20, "Trajectories that each inner step learns from, every step its own.", label="Trajectories", low=1, high=100
    )
    queries: int = setting(
        20, "Trajectories on which the adapted policy is then judged.", label="Query trajectories", low=1, high=200
    )
    horizon: int = setting(100, "Time steps after which an episode ends.", low=1, high=200)
    std: float = setting(
        0.3,
        "How much the policy tries out at first: the standard deviation of its actions, 1 being the largest step. It "
        "is learned and adapts from there.",
        label="Exploration",
        low=0.05,
        high=2.0,
    )
    discount: float = setting(
        0.99, "How much a reward counts one time step later; 1 counts all alike.", low=0.0, high=1.0, advanced=True
    )
    normalise: bool = setting(
        True,
        "Bring a task's advantages to mean 0 and standard deviation 1 and average over time steps, so that the inner "
        "learning rate need not fit the rewards. Off: the gradient of the return itself.",
        advanced=True,
    )
    curvature: Curvature = setting(
        "log",
        "What second order differentiates. log: the trajectories are taken as given (Finn et al. 2017); ratio: each "
        "action's likelihood too (Rothfuss et al. 2019); dice: all of it, without bias but noisy.",
        advanced=True,
    )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def output_size(self) -> int:
        return 4

    @property
    def metric(self) -> str:
        return "return"

    def sample(self, n_tasks: int, split: Split, rng: torch.Generator, device: torch.device | str = "cpu") -> TaskBatch:
        goal = (2 * torch.rand(n_tasks, 2, generator=rng) - 1) * HALF
        noise = torch.randn(n_tasks, self.shots + self.queries, self.horizon, 2, generator=rng)
        noise, there = Examples(noise, goal[:, None]).to(device)
        return TaskBatch(
            Examples(noise[:, : self.shots], there.expand(-1, self.shots, -1)),
            Examples(noise[:, self.shots :], there.expand(-1, self.queries, -1)),
            {"goal": goal},
        )

    def fresh(self, support: Examples, k: int) -> Examples:
        """Other trajectories for each inner step: the same normal numbers, dealt out in another order.

        Numbers drawn independently stay so in any fixed order; those of different steps are not independent of
        each other, but share no trajectory.
        """
        if k == 0:
            return support
        n, horizon = support.x.shape[1:3]
        order = shuffled(n * horizon, k, support.x.device)
        return Examples(support.x.flatten(1, 2)[:, order].unflatten(1, (n, horizon)), support.y)

    def describe(self, info: Mapping[str, Any], task: int) -> str:
        x, y = (float(value) for value in info["goal"][task])
        return f"goal ({x:.2f}, {y:.2f})"

    def attempt(self, predict: Callable[[Tensor], Tensor], examples: Examples) -> Tensor:
        """Trajectories, packed: (T, n, H, 5). Actions are constants, their log-probabilities functions of `predict`."""
        with torch.no_grad():
            actions, positions, rewards, counts = self._walk(predict, examples.x, examples.y)
        walked = Trajectories(positions, rewards, rewards, counts)
        output = predict(walked.observations.flatten(1, 2) / UNIT)
        mean, std = self._policy(output.unflatten(1, actions.shape[1:3]))
        log_prob = -(((actions - mean) / std).square() / 2 + std.log()).sum(-1)
        return walked._replace(log_prob=log_prob).pack()

    def _policy(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of an action, (.., 2) each, from the network's output (.., 4)."""
        mean, log_std = output.chunk(2, -1)
        return mean, self.std * log_std.clamp(*LOG_STD).exp()

    def _walk(self, predict: Callable[[Tensor], Tensor], noise: Tensor, goal: Tensor) -> tuple[Tensor, ...]:
        """Act: actions and positions (T, n, H, 2), rewards and counts (T, n, H)."""
        at, going = torch.zeros_like(goal), torch.ones_like(goal[..., 0])
        steps = []
        for t in range(noise.shape[2]):
            mean, std = self._policy(predict(at / UNIT))
            action = mean + std * noise[:, :, t]
            at = at + LARGEST_STEP * action.clamp(-1, 1) * going[..., None]
            off = at - goal
            steps.append((action, at, -off.norm(dim=-1) * going, going))
            going = going * (off.abs().amax(-1) >= WITHIN)
        actions, positions, rewards, counts = (torch.stack(parts, 2) for parts in zip(*steps, strict=True))
        return actions, positions, rewards, counts

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Minus the mean return of each task (T,); its gradient is the policy gradient, as `normalise` scales it."""
        found = Trajectories.unpack(prediction)
        cost = -found.rewards.detach().sum(-1).mean(1)
        if not prediction.requires_grad:
            return cost
        terms = surrogate(found.log_prob, self.advantages(found), self.curvature).sum(2).mean(1)
        sought = -terms / found.counts.detach().sum(2).mean(1) if self.normalise else -terms
        return cost + sought - sought.detach()

    def advantages(self, found: Trajectories) -> Tensor:
        """How much better than usual it went on from each time step: (T, n, H), constants."""
        with torch.no_grad():
            returns = to_go(found.rewards, self.discount)
            better = returns - baseline(found.observations, returns, found.counts)
            return standardised(better, found.counts) if self.normalise else better * found.counts

    def metrics(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`return`: the sum of an episode's rewards, a mean over episodes (T,); `loss` is minus that."""
        found = Trajectories.unpack(prediction).rewards.detach().sum(-1).mean(1)
        return {"loss": -found, "return": found}


def best_return(goal: Tensor, horizon: int) -> Tensor:
    """The largest return that any policy can reach, knowing the goal (.., 2): (..).

    Each coordinate goes towards the goal as fast as it can, which makes every distance on the way the smallest.
    """
    t = torch.arange(1, horizon + 1, dtype=goal.dtype, device=goal.device)
    left = (goal.abs()[..., None, :] - LARGEST_STEP * t[:, None]).clamp(min=0)
    going = torch.cat([torch.ones_like(left[..., :1, 0]), (left[..., :-1, :].amax(-1) >= WITHIN).to(left)], -1)
    return -(left.norm(dim=-1) * going).sum(-1)
