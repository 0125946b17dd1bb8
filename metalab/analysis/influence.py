"""Which support point pulls the prediction? The derivative of an adapted function with respect to each support y.

For a regression task with phi_K(y_1 .. y_n) the influence of point j at x is d f_phi_K(x) / d y_j, here by central
differences: 2n + 1 slightly different tasks adapt in one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from metalab.algorithms.base import Learner
from metalab.analysis.adaptation import Contender
from metalab.analysis.background import Report, quiet
from metalab.analysis.challenge import Challenge
from metalab.tasks.base import Examples

Floats = NDArray[np.float32]
NUDGE = 1e-2
"""How far a point is moved up and down, in units of y."""


@dataclass(frozen=True, eq=False)
class Influence:
    """How an adapted function hangs on its support points."""

    label: str
    colour_key: tuple[str, int, int]
    steps: int
    title: str
    support_x: Floats
    """(n,)"""
    support_y: Floats
    probe_x: Floats
    """(m,)"""
    before: Floats
    """(m,) f_theta"""
    after: Floats
    """(m,) f_phi_K"""
    truth: Floats | None
    pull: Floats
    """(n, m): how far the function moves at each probe input, for each unit by which a support point moves."""


def influence(contender: Contender, challenge: Challenge, *, steps: int, report: Report = quiet) -> Influence:
    """Nudge every support point, adapt again, and see what follows.

    Raises ValueError for tasks that are no functions of one variable.
    """
    family, algorithm = challenge.family, contender.algorithm
    probe_x = family.probe_x
    if family.kind != "regression" or probe_x is None or family.input_shape != (1,) or family.output_size != 1:
        raise ValueError(f"{family.name}: expected functions of one variable")
    x, y = challenge.support
    n = x.shape[1]
    nudges = torch.cat([torch.zeros(1, n), NUDGE * torch.eye(n), -NUDGE * torch.eye(n)]).to(y)
    support = Examples(x.expand(2 * n + 1, -1, -1), y + nudges[..., None])
    learner = Learner(contender.model, family)
    shot = algorithm.axis == "shot"
    wanted = algorithm.evaluation_steps if shot else steps
    probes = probe_x[None].expand(2 * n + 1, -1, -1).to(x)
    first = values = None
    for inner in algorithm.adapt(learner, contender.theta, support, wanted):
        with torch.no_grad():
            values = algorithm.predict(learner, inner.phi, probes, support.x)[..., 0]
        first = values[0] if first is None else first
        report(min(1.0, (inner.k + 1) / (wanted + 1)))
    assert first is not None
    assert values is not None
    pull = (values[1 : n + 1] - values[n + 1 :]) / (2 * NUDGE)
    return Influence(
        label=contender.label,
        colour_key=contender.colour_key,
        steps=n if shot else steps,
        title=challenge.title,
        support_x=x[0, :, 0].float().numpy(),
        support_y=y[0, :, 0].float().numpy(),
        probe_x=probe_x[:, 0].numpy(),
        before=first.float().numpy(),
        after=values[0].float().numpy(),
        truth=challenge.truth,
        pull=pull.float().numpy(),
    )
