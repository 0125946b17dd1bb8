"""MetaLab itself, as a run does it: besides the meta-gradient and the outer step it measures the accuracy, the
meta-gradient's norm and how far the tasks agree."""

from __future__ import annotations

import torch

from metalab.allocator import keep_freed_memory
from metalab.training.compiled import MetaStep
from metalab.training.evaluation import evaluate
from metalab.training.outer import mean
from metalab.training.parallel import Workers
from metalab.training.trainer import Trainer
from peers.work import Answer, Job, Work, computation, plain


def job(work: Work) -> Job:
    keep_freed_memory()  # as the server and the command line do
    torch.set_num_threads(1)  # as in a run, whose tasks share the cores where that is faster
    config, theta, batch = work.config, work.theta, work.batch
    learner, algorithm = config.learner, config.algorithm

    def adaptation() -> Answer:
        found = []
        for inner in algorithm.adapt(learner, theta, batch.support, work.steps):
            with torch.no_grad():
                found.append(algorithm.predict(learner, inner.phi, work.points, batch.support.x)[0])
        return {"prediction": torch.stack(found).cpu().numpy()}

    if work.kind == "adaptation":
        return computation(adaptation)
    if work.kind == "evaluation":
        return evaluation(work, None)
    return outer_steps(work, Trainer(config, None, None))


def evaluation(work: Work, compiled: MetaStep | None) -> Job:
    """A run's evaluation, compiled where that is given and ready."""
    config, theta = work.config, work.theta
    workers = Workers(config.model, work.batch.support.x.device)
    measure = compiled.curves if compiled is not None and compiled.evaluates else None

    def answer() -> Answer:
        found = evaluate(config.learner, config.algorithm, theta, work.batch, work.steps, workers, measure)
        return {"loss": found["loss"].cpu().numpy()}

    return computation(answer)


def outer_steps(work: Work, trainer: Trainer) -> Job:
    """A run's outer steps on the same tasks again and again."""

    def unit() -> None:
        trainer.learn([work.batch])

    def answer() -> Answer:
        parts = trainer.workers.map(lambda part: trainer.meta_step(trainer.outer.theta, part, 0), work.batch)
        found = mean([part for _, part in parts]).gradient
        return {name: value.cpu().numpy() for name, value in plain(found).items()}

    return Job(unit, answer)
