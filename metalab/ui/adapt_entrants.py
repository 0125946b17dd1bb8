"""Who may race on the Adapt page: runs of one family at one of their checkpoints, and the random network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from metalab.analysis.adaptation import Contender, from_checkpoint, scratch
from metalab.analysis.memory import Memory
from metalab.store import CheckpointError, Run, Store
from metalab.tasks import FAMILIES
from metalab.training.config import RunConfig, parse_config
from metalab.training.service import service
from metalab.ui import runs
from metalab.ui.i18n import _

SCRATCH = "scratch"
MOST_CONTENDERS = 5
MOST_OFFERED = 100
FIRST = ("maml", "reptile", "pretrained")
"""The order of the contenders that are chosen at first; others follow."""
_contenders: Memory[Contender] = Memory(48)


def candidates(family: str, asked: Sequence[str] = ()) -> list[Run]:
    """Runs of this family that have begun, the newest first: MOST_OFFERED of them, and older ones asked for."""
    found = runs.recent(MOST_OFFERED, family)
    if len(found) == MOST_OFFERED:
        known = {run.id for run in found}
        found += [run for run in runs.find(asked) if run.id not in known and run.family == family]
    return [run for run in found if run.algorithm != SCRATCH and run.state != "queued"]


def ways_of(run: Run) -> int | None:
    """How many classes a run's network tells apart; None for regression."""
    return run.settings["family"].get("ways")


def newest_of_each(found: Sequence[Run], mine: Callable[[Run], bool] = runs.mine) -> list[str]:
    """For each algorithm one run: finished before unfinished, one's own before others', longer trained, then newer."""
    best: dict[tuple[str, int], Run] = {}
    for run in sorted(found, key=lambda run: (run.state == "finished", mine(run), run.step, run.number)):
        best[run.algorithm, run.settings["algorithm"].get("order", 2)] = run
    places = {name: place for place, name in enumerate(FIRST)}
    order = [best[key] for key in sorted(best, key=lambda key: (key[1] == 1, places.get(key[0], len(places))))]
    return [run.id for run in order][: MOST_CONTENDERS - 1]


def begin_with(who: Sequence[str], found: Sequence[Run], *, asked: bool) -> tuple[list[str], list[str]]:
    """Who races at first, and whom a link asked for in vain: `who` where it fits, else the newest and scratch."""
    here = {run.id for run in found}
    fitting = [name for name in who if name in here or name == SCRATCH]
    gone = [name for name in who if name not in fitting] if asked else []
    if any(name in here for name in fitting) or (asked and fitting):
        return fitting, gone
    return [*newest_of_each(found), SCRATCH], gone


@dataclass(frozen=True)
class Entrant:
    """A contender as it was chosen, with what its controls need."""

    id: str
    """A run's id, or 'scratch'."""
    contender: Contender
    config: RunConfig
    step: int | None
    """The outer step of its checkpoint; None for scratch."""
    checkpoints: tuple[int, ...]
    note: str = ""
    """What a person should know of it, in one sentence."""


def entrants(who: Sequence[str], family: str, ways: int) -> list[Entrant]:
    """The chosen contenders, loaded. Raises Problem where a run or a checkpoint is gone."""
    try:
        with runs.friendly():
            return _entrants(who, family, ways)
    except CheckpointError as problem:
        raise runs.Problem(str(problem)) from None


def _entrants(who: Sequence[str], family: str, ways: int) -> list[Entrant]:
    store, found = service().store, []
    for name in who:
        if name != SCRATCH:
            run_id, _at, step = name.partition("@")
            found.append(_from_run(store, run_id, int(step) if step else None))
    like = found[0].config if found else _untrained(family, ways)
    if SCRATCH in who:
        found.insert(list(who).index(SCRATCH), _from_scratch(like))
    unlike = next((e for e in found if _shapes(e.config) != _shapes(found[0].config)), None)
    if unlike is not None:
        raise runs.Problem(
            _(
                "{one} and {other} learned tasks with other numbers of inputs or outputs: choose runs of the same "
                "dimension."
            ).format(one=found[0].id, other=unlike.id)
        )
    return _named(found)


def _shapes(config: RunConfig) -> tuple[str, tuple[int, ...], int]:
    """What tasks of a run look like to a network."""
    return config.family.name, config.family.input_shape, config.family.output_size


def _from_run(store: Store, run_id: str, step: int | None) -> Entrant:
    run, kept = store.get(run_id), store.checkpoints(run_id)
    if not kept:
        raise CheckpointError(f"Run {run.name!r} has no checkpoint yet. Wait a moment, or choose another.")
    at = kept[-1] if step is None else min(kept, key=lambda known: abs(known - step))
    key = (str(store.home), run_id, at, run.epoch, run.current_json)

    def load() -> Contender:
        return from_checkpoint("", run.current, store.load_theta(run_id, at), key)

    return Entrant(run_id, _contenders.get(key, load), run.current, at, tuple(kept))


def _untrained(family: str, ways: int) -> RunConfig:
    chosen = {"name": family} | ({"ways": ways} if FAMILIES[family].kind == "classification" else {})
    return parse_config({"family": chosen, "algorithm": SCRATCH})


def _from_scratch(like: RunConfig) -> Entrant:
    advised = _untrained(like.family.name, like.family.output_size)
    rate, note = getattr(advised.algorithm, "inner_lr", 0.01), ""
    reason = advised.algorithm.misfit(like.learner)
    if reason:
        note = _("From scratch races with the recommended network: {reason}.").format(reason=_(reason))
        like = like.model_copy(update={"model": advised.model})
    config = like.model_copy(update={"algorithm": advised.algorithm})
    key = (SCRATCH, like.model.model_dump_json(), *_shapes(like), like.seed)
    contender = _contenders.get(key, lambda: scratch("", like.model, like.family, like.seed, rate))
    return Entrant(SCRATCH, contender, config, None, (), note)


def _named(found: Sequence[Entrant]) -> list[Entrant]:
    """Contenders called by their algorithms, and where two have the same by their runs and in another colour too."""
    names = [_(entrant.contender.algorithm.label) for entrant in found]
    out: list[Entrant] = []
    twins = 0
    for n, (entrant, name) in enumerate(zip(found, names, strict=True)):
        label = name if names.count(name) == 1 else f"{name} {entrant.id}"
        again = name in names[:n]
        twins += again
        out.append(replace(entrant, contender=replace(entrant.contender, label=label, twin=twins if again else 0)))
    return out
