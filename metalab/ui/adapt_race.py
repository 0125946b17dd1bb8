"""How contenders race on the Adapt page, and what its stage shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from metalab.algorithms.cnp import SURPRISE
from metalab.analysis.adaptation import Race, race
from metalab.analysis.challenge import Challenge
from metalab.analysis.trajectories import trails
from metalab.figures import adaptation as curves
from metalab.figures import images, text
from metalab.figures import trajectories as paths
from metalab.training.service import service
from metalab.ui import runs
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.i18n import _
from metalab.ui.stage import Metric, Placed, Score

STAGE = "adapt.stage"
"""The key of the stage, whose player says which inner step is shown."""


def run_race(
    found: Sequence[Entrant], challenge: Challenge, steps: int, rates: Mapping[str, float], *, one_by_one: bool = False
) -> Race:
    """Let them adapt, ahead of any trainer. Raises Problem in one sentence."""
    torch.set_num_threads(1)  # of this thread: beside a trainer two are slower than one
    try:
        with service().foreground():
            return race(
                [entrant.contender for entrant in found], challenge, steps=steps, inner_lr=rates, one_by_one=one_by_one
            )
    except ValueError as problem:
        raise runs.Problem(str(problem)) from None


def diverged(result: Race) -> str:
    """A sentence that names who left the range of numbers, or nothing."""
    lost = [lane.label for lane in result.lanes if not lane.finite]
    if not lost:
        return ""
    return _("Diverged: {names}. The inner learning rate α is too large for this task; make it smaller.").format(
        names=", ".join(lost)
    )


def pictures(result: Race, *, own: bool, log: bool) -> list[Placed]:
    """What to draw of a race."""
    shown: list[Placed] = []
    classes = result.kind == "classification"
    if not own and classes:
        if result.tokens:
            for board in (text.examples(result, _), text.answers(result, _)):
                shown.append(Placed(board, text.height_of(board), "whole"))
        else:
            shown.append(Placed(images.answers(result, _), place="tall"))
        shown.append(Placed(curves.query(result, _, "accuracy")))
        shown.append(Placed(images.certainty(result, _)))
    elif result.kind == "reinforcement":
        place = "half" if len(result.lanes) <= 2 else "third"
        for n, lane in enumerate(result.lanes):
            found = trails(result, lane)
            shown.append(Placed(paths.trajectories(found, _, f"trajectories_{n + 1}"), place=place))
        shown.append(Placed(curves.query(result, _, result.metric)))
    elif result.kind == "generation":
        written = text.written(result, _)
        shown.append(Placed(written, text.height_of(written), "whole"))
        if not own:
            shown.append(Placed(curves.query(result, _, result.metric, log=log)))
    elif not own:
        if result.probe_x is not None:
            shown.append(Placed(curves.functions(result, _), 430, "whole"))
        shown.append(Placed(curves.query(result, _, log=log), place="third"))
    elif result.query_x is not None:
        shown.append(Placed(images.answer(result, _), 320, "whole"))
    small = "third" if result.kind == "regression" and not own else "half"
    shown.append(Placed(curves.support_loss(result, _, log=log), place=small))
    if any(SURPRISE in lane.query for lane in result.lanes):
        shown.append(Placed(curves.query(result, _, SURPRISE), place=small))
    if any(len(lane.gradient_norm) for lane in result.lanes):
        shown.append(Placed(curves.gradient_norm(result, _, log=log), place=small))
    return shown


def scores(result: Race) -> tuple[list[Score], Metric]:
    """What the score counts: accuracy or loss on the query set, or the support loss where nobody knows the answers."""
    if result.query_y is None:
        metric = Metric(_("support loss"))
        values = [lane.support_loss for lane in result.lanes]
    elif result.kind == "classification":
        metric = Metric(_("query accuracy"), high_is_good=True, percent=True)
        values = [lane.query["accuracy"] for lane in result.lanes]
    elif result.kind == "reinforcement":
        metric = Metric(_("return"), high_is_good=True)
        values = [lane.query["return"] for lane in result.lanes]
    elif result.kind == "generation":
        metric = Metric(_("query perplexity"))
        values = [lane.query["perplexity"] for lane in result.lanes]
    else:
        metric = Metric(_("query loss"))
        values = [lane.query["loss"] for lane in result.lanes]
    found = [
        Score(lane.label, lane.colour_key, [float(series[result.index(lane, k)]) for k in range(result.steps + 1)])
        for lane, series in zip(result.lanes, values, strict=True)
    ]
    return found, metric
