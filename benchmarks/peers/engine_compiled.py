"""MetaLab with its setting `compiled`: what is compiled is waited for here; a run would begin without it."""

from __future__ import annotations

import sys

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
    return outer_steps(work, trainer) if work.kind != "evaluation" else evaluation(work, trainer.meta_step)
