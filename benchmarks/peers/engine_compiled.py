"""MetaLab with its setting `compiled`: what is compiled is waited for here; a run would begin without it."""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from metalab.training.trainer import Trainer
from peers.engine import evaluation, outer_steps
from peers.work import Job, Work


def job(work: Work) -> Job | None:
    if work.kind == "adaptation":
        return None
    torch.set_num_threads(1)
    trainer = Trainer(work.config.changed({"compiled": "auto"}), None, None)
    news = trainer.meta_step.wait(trainer.outer.theta)
    if not news.startswith("compiled"):
        print(f"{work.name}: {news}", file=sys.stderr)
        return None
    if work.kind != "evaluation":
        return outer_steps(work, trainer)
    # On a GPU the run's own theta is what its evaluations are recorded for.
    return evaluation(replace(work, theta=trainer.outer.theta), trainer.meta_step)
