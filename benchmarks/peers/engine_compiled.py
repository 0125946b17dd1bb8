"""MetaLab with its setting `compiled`: the meta-gradient is waited for here; a run would begin without it."""

from __future__ import annotations

import sys
import time

import torch

from metalab.training.trainer import Trainer
from peers.engine import outer_steps
from peers.work import Job, Work


def job(work: Work) -> Job | None:
    if work.kind not in ("maml", "reptile"):
        return None
    torch.set_num_threads(1)
    trainer = Trainer(work.config.changed({"compiled": "auto"}), None, None)
    while trainer.meta_step.pending:
        news = trainer.meta_step.news(trainer.outer.theta)
        if news.startswith("not compiled"):
            print(f"{work.name}: {news}", file=sys.stderr)
            return None
        time.sleep(0.2)
    return outer_steps(work, trainer)
