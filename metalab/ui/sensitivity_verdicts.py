"""The answers of the page on sensitivity, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metalab.analysis.curvature import SETTLED
from metalab.analysis.memorisation import META_BATCH, OUTER_STEPS, Memorisation
from metalab.analysis.sensitivity import COARSE, Grid, Modes
from metalab.analysis.sensitivity_waves import Away, Spread
from metalab.figures.sensitivity import counted
from metalab.figures.speed import roughly, spelled
from metalab.figures.style import number
from metalab.ui.adapt_entrants import Entrant
from metalab.ui.i18n import _, ngettext


def rates_verdict(found: Grid, whole: int) -> str:
    """What is best and what cannot be told from it, against the run's own setting, and 2/lambda: Markdown.

    `whole` is how many tasks the map is of once it is done.
    """
    if found.n_tasks < whole:
        told = _("**A first look:** every {nth}th rate, over the first {n} tasks; all rates over {whole} tasks follow.")
        return told.format(nth=COARSE, n=found.n_tasks, whole=whole)
    said = [best_words(found, _("α = {value} with {steps}"))]
    if found.limits is None:
        said.append(_("Where the loss changes from step to step, or Adam takes them, no line 2/λ can be told."))
    else:
        said.append(_limit_words(found))
    return " ".join(filter(None, said))


def shots_verdict(found: Grid, whole: int) -> str:
    """How many shots and steps are best, and what cannot be told from it: Markdown."""
    if found.n_tasks < whole:
        return first_words(found.n_tasks, whole)
    return best_words(found, _("{value} shots with {steps}"), _("{value} shot with {steps}"))


def first_words(n: int, whole: int) -> str:
    """That more follows: Markdown."""
    return _("**A first look** over the first {n} tasks; all {whole} follow.").format(n=n, whole=whole)


def best_words(found: Grid, spelling: str, single: str = "") -> str:
    """The best cell, judged by tasks that did not choose it, and the run's own: Markdown.

    `spelling` has {value} and {steps} of a cell, `single` where its value is 1.
    """
    best = found.best
    if best is None:
        return ""

    def cell(place: tuple[int, int]) -> str:
        value = float(found.rows[place[0]])
        return ((value == 1 and single) or spelling).format(value=number(value), steps=counted(place[1], _))

    told = _(
        "**Of all cells, {choosing} tasks chose {best}; on the {judging} others it comes to {value}** (95% interval "
        "{low} to {high})."
    )
    value, low, high = (spelled(float(v), found.metric) for v in (best.value.mean, best.value.low, best.value.high))
    said = [
        told.format(
            choosing=best.n_choosing, best=cell(best.place), judging=best.n_judging, value=value, low=low, high=high
        )
    ]
    others = int(best.level.sum()) - 1
    if others:
        told = ngettext(
            "{n} of the other {all} cells cannot be told from it there (outlined).",
            "{n} of the other {all} cells cannot be told from it there (outlined).",
            others,
        )
        said.append(told.format(n=others, all=best.level.size - 1))
    else:
        said.append(_("Every other cell is worse there: the paired differences are real."))
    if found.own is None or best.own_gap is None or found.own == best.place:
        return " ".join(said)
    if best.level[found.own]:
        said.append(_("Among them is how it was trained, {own}.").format(own=cell(found.own)))
    else:
        told = _("As it was trained, {own}, it is worse by {gap} ({low} to {high}, paired).")
        if found.metric == "accuracy":
            told = _("As it was trained, {own}, it is worse by {gap} percentage points ({low} to {high}, paired).")
        unit = 100 if found.metric == "accuracy" else 1
        gap = best.own_gap
        parts = {
            name: roughly(unit * float(v)) for name, v in (("gap", gap.mean), ("low", gap.low), ("high", gap.high))
        }
        said.append(told.format(own=cell(found.own), **parts))
    return " ".join(said)


def _limit_words(found: Grid) -> str:
    assert found.limits is not None
    own, middle = found.trained[0], float(found.limits[1])
    if own <= middle:
        told = _(
            "Its own rate lies below 2/λ = {limit} of the middle task, {times} times its rate: from there on a step "
            "leads farther away along the steepest direction."
        )
    else:
        told = _(
            "Its own rate lies beyond 2/λ = {limit} of the middle task, {times} times its rate: the line is drawn for "
            "the curvature at θ, and the first step leaves it."
        )
    said = told.format(limit=number(middle), times=roughly(middle / own))
    n, whole = found.unsettled
    if n:
        told = ngettext(
            "For {n} of {all} tasks λ has not settled within {share}: its line may lie farther left.",
            "For {n} of {all} tasks λ has not settled within {share}: their lines may lie farther left.",
            n,
        )
        said += " " + told.format(n=n, all=whole, share=f"{100 * SETTLED:g}%")
    return said


def ready_words(trained: Mapping[int, Entrant], lacking: Sequence[int] = ()) -> str:
    """Which runs there are to compare, which of them are not done, and how to get those `lacking`: Markdown."""
    if not trained:
        return _("No run with these settings has begun to train yet.")
    said = []
    for steps, entrant in trained.items():
        under_way = (entrant.step or 0) < entrant.config.outer_steps
        told = _("{k} (so far {step} of {whole} outer steps)") if under_way else "{k}"
        said.append(told.format(k=steps, step=f"{entrant.step:,}", whole=f"{entrant.config.outer_steps:,}"))
    told = _("With these settings, and else the same, runs have trained with this many inner steps: **k = {steps}**.")
    words = told.format(steps=", ".join(said))
    if len(trained) == 1 and lacking:
        more = _("A row alone shows half of the answer: press **Train the missing runs** for k = {steps}.")
        words += " " + more.format(steps=", ".join(map(str, lacking)))
    return words


def away_verdict(found: Away) -> str:
    """How much worse it is outside the box: Markdown."""
    inside, outside = found.median(inside=True), found.median(inside=False)
    told = _(
        "**Inside the box {inside} of a wave is left after {steps} inner steps, outside {outside}: {times} times as "
        "much** (medians over the map)."
    )
    return told.format(
        inside=_share(inside), outside=_share(outside), times=roughly(outside / inside), steps=found.steps
    )


def _share(value: float) -> str:
    return f"{100 * value:.2g}%" if value < 1 else number(value) + " ×"


def spread_verdict(found: tuple[Spread, Spread]) -> str:
    """How far the functions fall apart where no point lies: Markdown."""
    whole, half = found
    seen, unseen = half.width(seen=True), half.width(seen=False)
    if half.times[0] <= 1 <= half.times[1]:
        said = _("**Whether the functions fall apart where no point lies cannot be told for this task:** {times} times")
    else:
        said = _("**Where no point lies the functions are {times} times as far apart as where points lie**")
    more = _(
        "(95% interval {low} to {high} over support sets; {unseen} against {seen}); with points anywhere they are "
        "{whole} apart. Their mean misses the truth there by {off}, where points lie by {near} (root mean square)."
    )
    return f"{said} {more}".format(
        times=roughly(unseen / seen) if seen > 0 else "∞",
        low=roughly(half.times[0]),
        high=roughly(half.times[1]),
        unseen=number(unseen),
        seen=number(seen),
        whole=number(whole.width(seen=True)),
        off=number(half.error(seen=False)),
        near=number(half.error(seen=True)),
    )


def modes_verdict(found: Modes, whole: int) -> str:
    """What transduction gives away: Markdown; `whole` is how many tasks it is over once it is done."""
    gap = found.gap("support_plus_one")
    if gap.low <= 0 <= gap.high:
        told = _(
            "**Whether all query images together are worth anything cannot be told:** {gap} percentage points of "
            "accuracy against the support set and one query alone (95% interval {low} to {high}, paired over {n} "
            "tasks)."
        )
    else:
        told = _(
            "**All query images together are worth {gap} percentage points of accuracy** against the support set and "
            "one query alone (95% interval {low} to {high}, paired over {n} tasks)."
        )
    mean, low, high = (roughly(100 * float(part)) for part in (gap.mean, gap.low, gap.high))
    said = told.format(gap=mean, low=low, high=high, n=found.n_tasks)
    if found.calibrated:
        said += " " + _("This θ has no running averages: they were taken from 40 meta-training tasks.")
    return said if found.n_tasks >= whole else f"{first_words(found.n_tasks, whole)} {said}"


def labels_verdict(found: Memorisation) -> str:
    """What each training knows before adaptation: Markdown."""
    chance = 1 / found.ways
    told = _(
        "Two small MAMLs of this demonstration's own, each trained for {steps} outer steps of {batch} tasks: the run "
        "chosen above plays no part. **With labels that stay, {fixed} of the characters it practised on are right "
        "before any adaptation; with shuffled labels {shuffled}, where chance is {chance}.** Of new characters it "
        "knows {new} beforehand: what it learned by heart is of no use there."
    )
    parts = {
        "fixed": found.fixed.known,
        "shuffled": found.shuffled.known,
        "new": found.fixed.new,
    }
    said = {name: f"{100 * float(each.mean[-1]):.0f}%" for name, each in parts.items()}
    return told.format(**said, chance=f"{100 * chance:.0f}%", steps=OUTER_STEPS, batch=META_BATCH)
