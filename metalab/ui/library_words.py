"""Which start is best for a task, in sentences."""

from __future__ import annotations

import numpy as np

from metalab.analysis.starts import Ranking
from metalab.figures.speed import spelled
from metalab.ui.i18n import _, ngettext
from metalab.ui.links import escape


def start_verdict(found: Ranking) -> str:
    """Who starts best, and how far the next one is behind."""
    if not found.starts:
        return _("None of the stored networks has as many outputs as this task needs.")
    first = found.starts[0]
    sentence = _("Start from **{run}** at outer step {step}: {metric} goes from {before} to {after}")
    said = sentence.format(
        run=escape(first.label),
        step=f"{first.step:,}",
        metric=_(found.metric),
        before=spelled(first.before, found.metric),
        after=spelled(first.after, found.metric),
    )
    others = [start for start in found.starts[1:] if start.run != first.run]
    if others:
        label, after = escape(others[0].label), spelled(others[0].after, found.metric)
        if after == spelled(first.after, found.metric):
            said += _("; {run} gets as far").format(run=label)
        else:
            said += _("; the next run, {run}, gets to {after}").format(run=label, after=after)
    said += ". " + _worse(found) + _("This is one task: another may prefer another start.")
    if found.unfit:
        more = ngettext("{n} checkpoint does not fit this task.", "{n} checkpoints do not fit this task.", found.unfit)
        said += " " + more.format(n=found.unfit)
    return said


def _worse(found: Ranking) -> str:
    """Whom adapting hurts: after it they are worse than before, or have left the range of numbers."""
    sign = -1 if found.higher else 1
    hurt = [start for start in found.starts if not sign * start.after <= sign * start.before]
    if not hurt:
        return ""
    sentence = ngettext(
        "For {n} of {all} starts adapting makes it worse: {worst} at outer step {step} goes from {before} to {after}.",
        "For {n} of {all} starts adapting makes it worse, most for {worst} at outer step {step}: from {before} to "
        "{after}.",
        len(hurt),
    )
    worst = max(hurt, key=lambda start: sign * (start.after - start.before) if np.isfinite(start.after) else np.inf)
    return (
        sentence.format(
            n=len(hurt),
            all=len(found.starts),
            worst=escape(worst.label),
            step=f"{worst.step:,}",
            before=spelled(worst.before, found.metric),
            after=spelled(worst.after, found.metric),
        )
        + " "
    )
