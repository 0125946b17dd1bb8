"""Meta-training as a generator of events: no threads, no disk, no clock.

    for event in train(config): ...

Pausing is not asking for the next event; stopping is closing the generator; sending a `Change` sets a
learning rate from the next outer step on, sending a `Look` takes a checkpoint between two evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping

import torch
from torch import Tensor

from metalab.tasks.base import TaskBatch
from metalab.training.compiled import MetaStep
from metalab.training.config import RunConfig
from metalab.training.evaluation import AWAY, evaluate, probe
from metalab.training.events import (
    Change,
    Changed,
    Checkpoint,
    Checkpointed,
    Command,
    Evaluated,
    Event,
    Failed,
    Finished,
    Look,
    Noted,
    OuterStep,
)
from metalab.training.memory import is_full, when_full
from metalab.training.outer import Aggregate, Outer, mean
from metalab.training.parallel import Workers
from metalab.training.start import held_out, initialise, place, stream

Events = Generator[Event, Command | None, None]

LOST = 1e6
"""A mean held-out loss beyond which theta is lost, whatever the family; NaN is, too."""
CHECK_FINITE_EVERY = {"cpu": 1, "cuda": 25}
"""Outer steps between two looks at whether the numbers are finite: a look makes a GPU wait."""


def train(config: RunConfig, *, resume: Checkpoint | None = None, threads: int | None = None) -> Events:
    """Meta-train as `config` says, from the start or from a checkpoint, on `threads` processor threads.

    Yields the first `Evaluated` and `Checkpointed` at step 0, and ends with `Finished` or `Failed`. With the
    same config the events are the same, bit for bit on a CPU, whether resumed or not; a compiled meta-gradient
    is used from when it is ready, so that then they agree but for rounding.

    Raises DataMissing where the family's data is not on this machine, ConfigError where no GPU is but one
    was asked for.
    """
    trainer = Trainer(config, resume, threads)
    try:
        yield from trainer.events(resumed=resume is not None)
        return
    except (MemoryError, RuntimeError) as problem:
        if not is_full(problem):
            raise
    finally:
        trainer.close()
    # Told only now: while the error is handled, it holds on to what filled the memory.
    yield Failed(trainer.step, when_full(trainer.config, trainer.workers.threads))


class Trainer:
    """The state of one run: theta, the outer optimiser, the stream of tasks."""

    def __init__(self, config: RunConfig, resume: Checkpoint | None, threads: int | None) -> None:
        config.family.require()
        self.config = resume.config if resume else config
        self.device = place(self.config)
        self.workers = Workers(self.config.model, self.device, threads)
        self.step = resume.step if resume else 0
        theta = resume.theta if resume else initialise(self.config)
        self.outer = Outer(self.config, {name: value.to(self.device, copy=True) for name, value in theta.items()})
        self.rng = stream(self.config.seed, "train")
        if resume:
            self.outer.load(resume.optimiser)
            self.rng.set_state(resume.rng)
        self.held_out = held_out(self.config, self.device)
        away = self.config.family.away
        self.away = held_out(self.config, self.device, split=away) if away else None
        self.evaluated = -1
        self.kept = self.step
        self.lost = ""
        self.meta_step = self._prepared()

    def events(self, resumed: bool) -> Events:
        """The run's events from `self.step` on; in reply to each it accepts a command, None for none."""
        if not resumed:
            yield from self._look()
        last = self.config.outer_steps if self.config.algorithm.trains else 0
        while self.step < last:
            if self.meta_step.pending and (news := self.meta_step.news(self.outer.theta)):
                yield from self._tell(Noted(self.step, news))
            done = OuterStep(self.step + 1, self.learn(self.sample() for _ in range(self.config.accumulate)))
            problem = self._problem(done.metrics)
            if problem:
                yield Failed(self.step, problem)
                return
            self.step += 1
            yield from self._tell(done)
            if self._due():
                yield from self._look()
            if self.lost:
                yield Failed(self.step, self.lost)
                return
        yield Finished(self.step)

    def _due(self) -> bool:
        """Whether theta is to be evaluated now, as it is every few outer steps and after the last."""
        turn = self.step % self.config.evaluate_every == 0 or self.step == self.config.outer_steps
        return turn and self.evaluated != self.step

    def _tell(self, event: Event) -> Events:
        """Yield an event, then do what is asked in reply to it, until nothing is asked any more."""
        command = yield event
        while isinstance(command, Change):
            command = yield self._change(command)
        if isinstance(command, Look):
            # Who resumes from a checkpoint taken now does not evaluate this step again.
            yield from self._look(command.evaluate or self._due())

    def sample(self) -> TaskBatch:
        """The next meta-batch of the run's stream of tasks."""
        return self.config.family.sample(self.config.meta_batch_size, "train", self.rng, self.device)

    def learn(self, batches: Iterable[TaskBatch]) -> dict[str, Tensor]:
        """One outer step on the tasks of all `batches`, each of them differentiated by itself; what it measured."""
        parts: list[Aggregate] = []
        for batch in batches:
            # Taken together at once: what accumulates needs the memory of one meta-batch.
            parts = [mean(parts + [part for _, part in self.workers.map(self._meta_gradient, batch)])]
        whole = parts[0]
        found = dict(whole.metrics) | {"gradient_norm": self.outer.step(whole, self.config, self.step)}
        agreement = whole.agreement
        return found if agreement is None else found | {"gradient_agreement": agreement}

    def _meta_gradient(self, batch: TaskBatch) -> Aggregate:
        return self.meta_step(self.outer.theta, batch, self.step)

    def _prepared(self) -> MetaStep:
        sizes = self.workers.sizes(self.config.meta_batch_size)
        return MetaStep(self.config, self.device, sizes, self.workers.threads)

    def _problem(self, metrics: Mapping[str, Tensor]) -> str | None:
        every = CHECK_FINITE_EVERY[self.device.type]
        if (self.step + 1) % every and (self.step + 1) % self.config.evaluate_every:
            return None
        bad = [name.replace("_", " ") for name, value in metrics.items() if not math.isfinite(value)]
        if not bad:
            return None
        return self._diverged(self.step + 1, f"not finite: {', '.join(sorted(bad))}")

    def _diverged(self, step: int, what: str) -> str:
        config = self.config
        rates = f"inner learning rate {getattr(config.algorithm, 'inner_lr', '-')}, outer {config.outer_lr}"
        return (
            f"Diverged at outer step {step}: {what} ({rates}). The checkpoint of outer step {self.kept} is kept; "
            "go on from it, or start again, with a smaller learning rate or a clipped meta-gradient."
        )

    def _check_held_out(self, loss: Tensor) -> None:
        """Whether theta still works on held-out tasks, after as many inner steps as it is trained for; loss (T, K + 1).

        Further inner steps may diverge: that is a finding and no failure. Over shots the whole curve counts: it ends
        with as many as theta is trained for.
        """
        algorithm = self.config.algorithm
        counted = loss.shape[1] if algorithm.axis == "shot" else getattr(algorithm, "inner_steps", 0) + 1
        reached = float(loss.double().mean(0)[:counted].abs().max())
        if self.step > 0 and not reached <= LOST:
            self.lost = self._diverged(self.step, f"the held-out loss is {reached:.3g}")

    def _look(self, evaluation: bool = True) -> Events:
        config, theta = self.config, self.outer.theta
        steps = config.algorithm.evaluation_steps
        compiled = self.meta_step.curves if self.meta_step.evaluates else None
        if evaluation:
            curves = evaluate(config.learner, config.algorithm, theta, self.held_out, steps, self.workers, compiled)
            if self.away is not None:
                found = evaluate(config.learner, config.algorithm, theta, self.away, steps, self.workers, compiled)
                curves |= {f"{name}{AWAY}": curve for name, curve in found.items()}
            functions = probe(config.learner, config.algorithm, theta, self.held_out, steps)
            self.evaluated = self.step
            self._check_held_out(curves["loss"])
            yield from self._tell(Evaluated(self.step, {name: v.float() for name, v in curves.items()}, functions))
        if not self.lost and all(bool(value.isfinite().all()) for value in theta.values()):
            self.kept = self.step
            yield from self._tell(Checkpointed(self.step, self.checkpoint()))

    def _change(self, change: Change) -> Changed:
        before = self.config.model_dump()
        self.config = self.config.changed_live(change.changes)
        after = self.config.model_dump()
        if after["algorithm"] != before["algorithm"]:
            self.meta_step.close()
            self.meta_step = self._prepared()
        return Changed(
            self.step,
            {name: (_dotted(before, name), _dotted(after, name)) for name in change.changes},
            self.config,
        )

    def close(self) -> None:
        """End what goes on beside the run: its threads, and a compiler."""
        self.meta_step.close()
        self.workers.close()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # for other programs

    def checkpoint(self) -> Checkpoint:
        """Copies of everything, on the CPU."""
        theta = {name: value.detach().to("cpu", copy=True) for name, value in self.outer.theta.items()}
        return Checkpoint(self.step, self.config, theta, self.outer.state(), self.rng.get_state())


def _dotted(data: dict, name: str) -> object:
    for part in name.split("."):
        data = data[part]
    return data
