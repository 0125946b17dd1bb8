"""A race: several contenders adapt to the same task, step by step, through THE inner loop.

contenders + challenge -> race(...) -> Race, numpy arrays for figures
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalab.algorithms.base import Algorithm, Learner
from metalab.algorithms.scratch import Scratch
from metalab.analysis.adapted import QUERY, Columns, adapted, probe_inputs
from metalab.analysis.challenge import Challenge, changed
from metalab.analysis.memory import Memory
from metalab.models.base import Model
from metalab.params import Params
from metalab.tasks.base import TaskFamily
from metalab.training.config import RunConfig

MOST_STEPS = 200
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Contender:
    """Who adapts: an algorithm, a network, and the meta-parameters that it starts from."""

    label: str
    algorithm: Algorithm
    model: Model
    theta: Params
    """On the CPU, without a task axis."""
    key: Hashable
    """Equal only for equal theta: (run, outer step), or what drew it."""
    twin: int = 0
    """0, or its number, from 1, among the contenders whose algorithm races already: they need another colour."""

    @property
    def colour_key(self) -> tuple[str, int, int]:
        """What decides its colour: the algorithm's name and order, and `twin`."""
        return self.algorithm.name, getattr(self.algorithm, "order", 2), self.twin


@dataclass(frozen=True, eq=False)
class Lane:
    """How one contender went: K steps of `axis` lead from phi_0, which knows nothing of the task, to phi_K."""

    label: str
    colour_key: tuple[str, int, int]
    """The contender's."""
    axis: Literal["inner step", "shot"]
    """What its algorithm counts."""
    inner_lr: float | None
    """None where rates are learned, or none is used."""
    support_loss: Floats
    """(K + 1,) on the whole support set, at phi_0 .. phi_K."""
    gradient_norm: Floats
    """(K,) Euclidean norm of the gradient that each inner step followed, at phi_0 .. phi_{K-1}; (0,) without steps."""
    query: Mapping[str, Floats]
    """Each of the family's metrics, and of its algorithm's own, on the query set, (K + 1,); empty where its targets
    are unknown."""
    functions: Floats | None
    """(K + 1, m): f_phi_0 .. f_phi_K at the family's probe inputs."""
    probabilities: Floats | None
    """(K + 1, q, ways) of each query image, classification only."""
    positions: Floats | None
    """(K + 1, q, H, 2) after each of H time steps of each query trajectory, reinforcement only."""
    written: Floats | None = None
    """(K + 1, `adapted.WRITTEN`, letters) tokens of names that it writes, generation only."""
    spread: Floats | None = None
    """(K + 1, m) standard deviation of `functions`, of a contender that says how unsure it is."""

    @property
    def steps(self) -> int:
        """K."""
        return len(self.support_loss) - 1

    def upto(self, steps: int, contender: Contender) -> Lane:
        """The lane's first steps, under that contender's label and colour."""

        def cut(values: Floats | None) -> Floats | None:
            return None if values is None else values[: steps + 1]

        return replace(
            self,
            label=contender.label,
            colour_key=contender.colour_key,
            support_loss=self.support_loss[: steps + 1],
            gradient_norm=self.gradient_norm[:steps],
            query={name: values[: steps + 1] for name, values in self.query.items()},
            functions=cut(self.functions),
            probabilities=cut(self.probabilities),
            positions=cut(self.positions),
            written=cut(self.written),
            spread=cut(self.spread),
        )

    @property
    def finite(self) -> bool:
        """Whether the inner loop stayed within numbers: a large alpha diverges."""
        return bool(np.isfinite(self.support_loss).all())


@dataclass(frozen=True, eq=False)
class Race:
    """All lanes, and the task as arrays."""

    kind: str
    """The family's kind."""
    metric: str
    """The metric that says best how well a contender does."""
    loss_name: str
    """What its loss is."""
    title: str
    """The task in the field's terms; empty for a person's own."""
    steps: int
    """Of `axis`."""
    lanes: tuple[Lane, ...]
    support_x: Floats
    """(n, *input_shape), or what else an example holds."""
    support_y: NDArray
    """(n,) class ids or values of a function, or (n, d)."""
    query_x: Floats | None
    """Like `support_x`."""
    query_y: NDArray | None
    """Like `support_y`."""
    probe_x: Floats | None
    """(m,) for a function of one variable."""
    truth: Floats | None
    """(m,)"""
    ways: int
    """Classes, or outputs."""
    one_by_one: bool
    """Whether query images were normalised with the support set instead of with each other."""
    class_names: tuple[str, ...] = ()
    """What the classes are called, where people know them by names; else empty."""
    tokens: bool = False
    """Whether examples are texts."""

    @property
    def axis(self) -> Literal["inner step", "shot"]:
        """What `steps` counts: shots only where no contender takes inner steps."""
        return axis_of(self.lanes)

    def index(self, lane: Lane, k: int) -> int:
        """Where a lane stands at step k of the race.

        One that reads its shots at once, among others that take inner steps, stands at its end from the first on.
        """
        if lane.axis == self.axis:
            return min(k, lane.steps)
        return 0 if k == 0 else lane.steps


def axis_of(lanes: Sequence[Lane]) -> Literal["inner step", "shot"]:
    """The axis of a race between these."""
    return "shot" if all(lane.axis == "shot" for lane in lanes) else "inner step"


_lanes: Memory[Lane] = Memory(512)


def race(
    contenders: Sequence[Contender],
    challenge: Challenge,
    *,
    steps: int,
    inner_lr: Mapping[str, float] | None = None,
    one_by_one: bool = False,
) -> Race:
    """Let each contender adapt to the challenge for `steps` inner steps, or to all its shots one after another.

    `inner_lr` replaces the rate of the contenders whose labels it names. With `one_by_one` a network that
    normalises query images together (transductive batch norm) takes each with the support set instead: one
    image alone has no statistics worth the name.

    Raises ValueError for no contenders, equal labels, steps outside 0 .. 200, a rate that the algorithm
    refuses, an unknown label, or a network whose outputs do not fit the task.
    """
    if not contenders:
        raise ValueError("no contenders: expected one or more")
    labels = [contender.label for contender in contenders]
    if len(set(labels)) < len(labels):
        raise ValueError(f"contenders {labels}: expected labels that differ")
    if type(steps) is not int or not 0 <= steps <= MOST_STEPS:
        raise ValueError(f"steps = {steps!r}: expected a whole number from 0 to {MOST_STEPS}")
    rates = dict(inner_lr or {})
    unknown = sorted(set(rates) - set(labels))
    if unknown:
        raise ValueError(f"inner_lr of {unknown[0]!r}: expected one of {', '.join(labels)}")
    lanes = tuple(_lane(c, challenge, steps, rates.get(c.label), one_by_one) for c in contenders)
    return _assembled(challenge, steps, lanes, one_by_one and any(_mixes_queries(c.model) for c in contenders))


def from_checkpoint(label: str, config: RunConfig, theta: Params, key: Hashable) -> Contender:
    """A contender out of a run: its algorithm and network, with theta of one of its checkpoints."""
    return Contender(label, config.algorithm, config.model, theta, key)


def scratch(label: str, model: Model, family: TaskFamily, seed: int, inner_lr: float) -> Contender:
    """A contender that has learned nothing: the network's random initialisation of that seed."""
    theta = Learner(model, family).init(torch.Generator().manual_seed(seed))
    algorithm = changed(Scratch(), inner_lr=inner_lr)
    key = ("scratch", model.model_dump_json(), family.input_shape, family.output_size, seed)
    return Contender(label, algorithm, model, theta, key)


def _lane(contender: Contender, challenge: Challenge, steps: int, inner_lr: float | None, one_by_one: bool) -> Lane:
    algorithm = changed(contender.algorithm, inner_lr=inner_lr)
    model = contender.model
    if one_by_one and _mixes_queries(model):
        model = changed(model, batch_norm="support_plus_one")
    learner = Learner(model, challenge.family)
    outputs = model.outputs(contender.theta)
    if outputs is not None and outputs != challenge.family.output_size:
        raise ValueError(
            f"{contender.label}: its network has {outputs} outputs, but the task needs {challenge.family.output_size}"
        )
    if algorithm.axis == "shot":
        steps = algorithm.evaluation_steps
    writing = (challenge.temperature, challenge.draw)
    key = (contender.key, algorithm.model_dump_json(), model.model_dump_json(), challenge.key, writing)

    def run() -> Lane:
        columns = adapted(contender.key, contender.theta, algorithm, learner, challenge, steps)
        return _lane_of(contender, algorithm, columns)

    known = _lanes.get(key, run)
    if known.steps < steps and known.axis == "inner step":
        known = _lanes.put(key, run())
    return known.upto(steps, contender)


def _mixes_queries(model: Model) -> bool:
    return getattr(model, "batch_norm", None) == "transductive"


def _lane_of(contender: Contender, algorithm: Algorithm, columns: Columns) -> Lane:
    return Lane(
        label=contender.label,
        colour_key=contender.colour_key,
        axis=algorithm.axis,
        inner_lr=algorithm.alpha,
        support_loss=columns["support_loss"],
        gradient_norm=columns["gradient_norm"],
        query={name.removeprefix(QUERY): values for name, values in columns.items() if name.startswith(QUERY)},
        functions=columns.get("functions"),
        probabilities=columns.get("probabilities"),
        positions=columns.get("positions"),
        written=columns.get("written"),
        spread=columns.get("spread"),
    )


def _assembled(challenge: Challenge, steps: int, lanes: tuple[Lane, ...], one_by_one: bool) -> Race:
    family = challenge.family
    probe_x = probe_inputs(family)

    def targets(y: Tensor) -> NDArray:
        if y.ndim == 2:
            return y[0].numpy()
        values = y[0].float().numpy()
        return values[:, 0] if values.shape[1] == 1 else values

    return Race(
        kind=family.kind,
        metric=family.metric,
        loss_name=family.loss_name,
        title=challenge.title,
        steps=steps if axis_of(lanes) == "inner step" else max(lane.steps for lane in lanes),
        lanes=lanes,
        support_x=challenge.support.x[0].float().numpy(),
        support_y=targets(challenge.support.y),
        query_x=None if challenge.query_x is None else challenge.query_x[0].float().numpy(),
        query_y=None if challenge.query_y is None else targets(challenge.query_y),
        probe_x=None if probe_x is None else probe_x[:, 0].numpy(),
        truth=challenge.truth,
        ways=family.output_size,
        class_names=challenge.class_names,
        tokens=family.tokens,
        one_by_one=one_by_one,
    )
