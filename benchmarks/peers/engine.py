"""MetaLab itself, as a run does it: besides the meta-gradient and the outer step it measures the accuracy, the
meta-gradient's norm and how far the tasks agree."""

from __future__ import annotations

import torch

from metalab.training.evaluation import evaluate
from metalab.training.parallel import Workers
from metalab.training.trainer import Trainer
from peers.work import Answer, Job, Work, computation, plain


def job(work: Work) -> Job:
    config, theta, batch = work.config, work.theta, work.batch
    learner, algorithm = config.learner, config.algorithm
    torch.set_num_threads(1)  # as in a run, whose tasks share the cores where that is faster

    def adaptation() -> Answer:
        found = []
        for inner in algorithm.adapt(learner, theta, batch.tasks(0, 1).support, work.steps):
            with torch.no_grad():
                found.append(algorithm.predict(learner, inner.phi, work.points, batch.support.x[:1])[0])
        return {"prediction": torch.stack(found).numpy()}

    if work.kind == "adaptation":
        return computation(adaptation)
    if work.kind == "evaluation":
        workers = Workers(config.model, torch.device("cpu"))
        return computation(
            lambda: {"loss": evaluate(learner, algorithm, theta, batch, work.steps, workers)["loss"].numpy()}
        )
    trainer = Trainer(config, None, None)

    def unit() -> None:
        trainer.learn([batch])

    def answer() -> Answer:
        found = algorithm.meta_gradient(learner, theta, batch).gradient
        return {name: value.numpy() for name, value in plain(found).items()}

    return Job(unit, answer)
