"""A compiled meta-gradient: the same as the eager one, taken up without losing a step, left out with a reason."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from small_runs import CHARACTERS, REPTILE, SINE, checkpoints, outer_steps, same, small

from metalab.algorithms import ALGORITHMS
from metalab.training import compiled
from metalab.training.compiled import EVALUATION, MANIFEST, MetaStep, NotCompiled, compiler, described, inputs, key
from metalab.training.evaluation import FEWEST, curves
from metalab.training.events import Change, Changed, Evaluated, Failed, Finished, Noted, OuterStep
from metalab.training.outer import ENTRIES, differentiated
from metalab.training.trainer import Trainer, initialise, stream, train
from metalab.training.translating import traced, traced_evaluation

CPU = torch.device("cpu")
PLUS = {"algorithm": {"name": "maml_plus_plus", "inner_steps": 2, "multi_step_until": 3}}
CASES = {
    "maml": SINE | {"algorithm": {"name": "maml", "inner_steps": 2}},
    "natural": SINE | {"outer_optimiser": "natural"},
    "reptile": SINE | {"algorithm": REPTILE["algorithm"] | {"inner_batch": 4}},
    "maml++": SINE | PLUS,
    "conv4": CHARACTERS | {"algorithm": {"name": "maml", "order": 1, "inner_steps_eval": 1}},
}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home whose cache holds nothing yet."""
    monkeypatch.setenv("METALAB_HOME", str(tmp_path))
    return tmp_path


def auto(base=SINE, **over):
    return small(base, compiled="auto", **over)


def doubled(batch):
    return batch.__class__(
        *(
            part._replace(x=part.x.double(), y=part.y.double() if part.y.is_floating_point() else part.y)
            for part in (batch.support, batch.query)
        )
    )


@pytest.mark.parametrize("name", CASES)
def test_the_graph_that_is_compiled_is_the_eager_meta_gradient(name):
    """For other tasks than those that it was traced with, and another theta."""
    config = small(CASES[name], meta_batch_size=3)
    done = config.algorithm.steady_from
    one, other = (config.family.sample(3, "train", stream(seed, "train")) for seed in (0, 1))
    theta = initialise(config, torch.float64)
    graph, names = traced(config, theta, doubled(one), done)
    theta = {entry: value + 0.01 for entry, value in theta.items()}
    flat = iter(graph(*inputs(theta, doubled(other))))
    expected = differentiated(config, theta, doubled(other), done, in_rows=False)
    for part in ENTRIES:
        assert set(names[part]) == set(getattr(expected, part))
        for entry in names[part]:
            torch.testing.assert_close(next(flat), getattr(expected, part)[entry], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["maml", "conv4"])
def test_how_the_tasks_agree_is_the_same_in_rows_and_entry_by_entry(name):
    config = small(CASES[name])
    batch, theta = config.family.sample(4, "train", stream(0, "train")), initialise(config)
    rows, entries = (differentiated(config, theta, batch, 0, in_rows=in_rows) for in_rows in (True, False))
    torch.testing.assert_close(rows.agreement, entries.agreement, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, kind in ALGORITHMS.items() if hasattr(kind, "importance")])
def test_from_some_outer_step_on_the_meta_gradient_is_always_taken_alike(name):
    algorithm = ALGORITHMS[name]()
    steady = algorithm.steady_from
    for later in (steady + 1, steady + 777, steady + 10**6):
        assert algorithm.importance(later) == pytest.approx(algorithm.importance(steady))
        assert algorithm.order_after(later) == algorithm.order_after(steady)


def test_an_annealed_algorithm_is_not_steady_before():
    algorithm = small(PLUS).algorithm
    assert algorithm.steady_from == 3
    assert algorithm.importance(2) != algorithm.importance(3)
    annealed = algorithm.model_copy(update={"anneal_order": True, "first_order_until": 9})
    assert (annealed.steady_from, annealed.order_after(8), annealed.order_after(9)) == (9, 1, 2)


def notes(events) -> list[tuple[int, str]]:
    return [(event.step, event.text) for event in events if isinstance(event, Noted)]


def test_without_a_compiler_the_run_says_so_once_and_trains_as_ever(home, monkeypatch):
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-there")
    found, plain = list(train(auto())), list(train(small()))
    said = "not compiled: no C++ compiler was found on this machine (looked for a-compiler-that-is-not-there)"
    assert notes(found) == [(0, said)]
    assert outer_steps(found) == outer_steps(plain)
    assert same(checkpoints(found)[12].theta, checkpoints(plain)[12].theta)


def test_whoever_does_not_ask_gets_nothing_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "key", pytest.fail)
    assert notes(train(small())) == []


def test_what_is_another_one_at_every_step_is_not_compiled(home):
    config = auto(
        family={"name": "sinusoid", "shots": 3, "queries": 3},
        model={"name": "transformer"},
        algorithm={"name": "in_context"},
        outer_steps=1,
    )
    ((step, said),) = notes(train(config))
    assert (step, said) == (
        0,
        "not compiled: the meta-gradient of In-context transformer is another one at every outer step",
    )


def test_a_home_that_cannot_be_written_costs_the_run_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "file"))
    found = list(train(auto()))
    ((_, said),) = notes(found)
    assert said.startswith("not compiled: cannot make the folder")
    assert isinstance(found[-1], Finished)


needs_sh = pytest.mark.skipif(os.name == "nt", reason="stands a shell script in for the compiling process")


def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let `script` be the process that compiles."""
    path = home / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(compiled.sys, "executable", str(path))
    monkeypatch.setattr(compiled, "compiler", lambda: "g++")


def settled(events) -> list:
    """Events up to the first note."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, Noted):
            break
        assert not isinstance(event, Finished | Failed)
    return seen


@needs_sh
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "not compiled: the compiling process ended early"),
        ("""read request; echo '{"problem": "no room for it"}'""", "not compiled: no room for it"),
        ("read request; echo '{}'", "not compiled: FileNotFoundError"),
    ],
)
def test_a_compiler_that_fails_is_given_as_the_reason(home, monkeypatch, script, said):
    stand_in(home, monkeypatch, script)
    events = train(auto(outer_steps=1_000_000, evaluate_every=100_000))
    assert settled(events)[-1].text.startswith(said)
    assert isinstance(next(events), OuterStep)
    events.close()
    assert not list((home / "cache" / "compiled").iterdir())


@needs_sh
def test_a_run_that_ends_ends_its_compiler(home, monkeypatch):
    stand_in(home, monkeypatch, f"echo $$ > {home}/pid; sleep 1000")
    started = time.monotonic()
    events = train(auto(outer_steps=1_000_000, evaluate_every=100_000))
    while not (home / "pid").exists() or not (home / "pid").read_text().strip():
        next(events)
    events.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((home / "pid").read_text()), 0)
    assert time.monotonic() - started < 20
    assert not list((home / "cache" / "compiled").iterdir())


@needs_sh
def test_a_compiler_that_takes_too_long_is_ended(home, monkeypatch):
    stand_in(home, monkeypatch, "sleep 1000")
    monkeypatch.setattr(compiled, "PATIENCE", 0.05)
    events = train(auto(outer_steps=1_000_000, evaluate_every=100_000))
    assert settled(events)[-1].text == "not compiled: the compiler did not finish within 0 s"
    events.close()


COPIES = """read request
part=$(echo "$request" | sed 's/.*"folder": "\\([^"]*\\)".*/\\1/')
cp {home}/made/* "$part"; touch "$part"/evaluation.pt2 {home}/copied
"""
"""A compiling process that has got as far as the evaluation."""


@needs_sh
@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("sleep 1000", "the compiler did not finish within 0 s"),
        ("kill -9 $$", "the compiling process ended early"),
        ("""echo '{"problem": "OSError: no space"}'""", "OSError: no space"),
    ],
)
def test_the_meta_gradient_is_kept_whatever_comes_of_the_evaluation(home, monkeypatch, then, said):
    """And the evaluation is tried again, a day later."""
    config = auto(evaluation_tasks=FEWEST)
    keep(config, home / "made", {part: [] for part in ENTRIES}, [4])
    stand_in(home, monkeypatch, COPIES.replace("{home}", str(home)) + then)
    monkeypatch.setattr(compiled, "loaded", lambda path, *_: path.stem)
    theta, folder = initialise(config), home / "cache" / "compiled" / key(config, [4])
    step = MetaStep(config, CPU, [4], 1)
    while not (home / "copied").exists() and not step._child.over:
        time.sleep(0.01)
    monkeypatch.setattr(compiled, "PATIENCE", 0.0 if "sleep" in then else 60.0)
    news = step.wait(theta)
    assert (news[:15], news[-len(said) - 23 :]) == ("compiled after ", f"; evaluations are not: {said}")
    assert step._parts[4][1] == "4"
    assert not step.evaluates
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert {path.name for path in folder.iterdir()} == {MANIFEST, "4.pt2"}
    again = "compiled, as kept from an earlier run; evaluations are not: "
    again += "an earlier run's compiler did not get through with them"
    assert MetaStep(config, CPU, [4], 1).wait(theta) == again
    assert folder.exists()
    os.utime(folder / MANIFEST, (0, 0))
    assert MetaStep(config, CPU, [4], 1).wait(theta) == again
    assert not folder.exists()


@needs_sh
def test_a_library_of_evaluations_that_is_refused_is_not_kept(home, monkeypatch):
    config = auto(evaluation_tasks=FEWEST)
    keep(config, home / "made", {part: [] for part in ENTRIES}, [4])
    made = home / "made" / MANIFEST
    made.write_text(json.dumps(json.loads(made.read_text()) | {EVALUATION: {"refused": "it differs"}}))
    stand_in(home, monkeypatch, COPIES.replace("{home}", str(home)) + "echo '{}'")
    monkeypatch.setattr(compiled, "loaded", lambda path, *_: path.stem)
    assert MetaStep(config, CPU, [4], 1).wait(initialise(config)).endswith("; evaluations are not: it differs")
    assert {path.name for path in (home / "cache" / "compiled").glob("*/*")} == {MANIFEST, "4.pt2"}


def keep(config, folder: Path, names, sizes) -> None:
    """What the compiling process leaves in the cache, with nothing in the libraries."""
    folder.mkdir(parents=True)
    theta = initialise(config)
    whole = config.family.sample(config.meta_batch_size, "train", stream(config.seed, "train"))
    parts = {}
    for size in sizes:
        (folder / f"{size}.pt2").write_text(str(size))
        parts[str(size)] = described(inputs(theta, whole.tasks(0, size)))
    (folder / MANIFEST).write_text(json.dumps({"names": names, "parts": parts}))


@pytest.mark.parametrize("name", ["maml", "conv4"])
def test_what_is_kept_is_taken_up_and_loses_neither_a_step_nor_a_task(name, home, monkeypatch):
    config = small(CASES[name])
    sizes = sorted(set(Trainer(config, None, 1).workers.sizes(config.meta_batch_size)))
    whole = config.family.sample(config.meta_batch_size, "train", stream(config.seed, "train"))
    graphs = {n: traced(config, initialise(config), whole.tasks(0, n), 0) for n in sizes}
    keep(config, home / "cache" / "compiled" / key(config, sizes), graphs[sizes[0]][1], sizes)
    called = []

    def graph_of(path, at_once):
        graph = graphs[int(path.read_text())][0]
        return lambda given: called.append(path) or graph(*given)

    monkeypatch.setattr(compiled, "loaded", graph_of)
    found, plain = (list(train(each, threads=1)) for each in (small(CASES[name], compiled="auto"), config))
    assert notes(found) == [(0, "compiled, as kept from an earlier run")]
    assert len(called) == config.outer_steps * len(Trainer(config, None, 1).workers.sizes(config.meta_batch_size))
    assert [type(event) for event in found if not isinstance(event, Noted)] == [type(event) for event in plain]
    for step, metrics in outer_steps(plain).items():
        assert outer_steps(found)[step] == pytest.approx(metrics, rel=2e-3, abs=1e-4)
    last = config.outer_steps
    assert torch.equal(checkpoints(found)[last].rng, checkpoints(plain)[last].rng)


@pytest.mark.parametrize("name", ["maml", "reptile"])
def test_the_graph_of_an_evaluation_is_the_eager_one(name):
    """For other tasks than those that it was traced with, and another theta."""
    config = small(CASES[name])
    one, other = (doubled(config.family.sample(5, "test", stream(seed, "test"))) for seed in (0, 1))
    theta = initialise(config, torch.float64)
    graph, names = traced_evaluation(config, theta, one)
    theta = {entry: value + 0.01 for entry, value in theta.items()}
    expected = curves(config.learner, config.algorithm, theta, other, config.algorithm.evaluation_steps)
    found = dict(zip(names, graph(*inputs(theta, other)), strict=True))
    assert found.keys() == expected.keys()
    for entry, curve in expected.items():
        torch.testing.assert_close(found[entry], curve, rtol=1e-10, atol=1e-10)


def test_evaluations_of_whole_parts_are_compiled_others_and_refused_ones_stay_eager(home, monkeypatch):
    config = small(evaluation_tasks=2 * FEWEST)
    theta = initialise(config)
    graph, names = traced(config, theta, config.family.sample(4, "train", stream(0, "train")), 0)
    part = config.family.sample(FEWEST, "validation", stream(0, "validation"))
    look, figures = traced_evaluation(config, theta, part)
    folder = home / "cache" / "compiled" / key(config, [4])
    keep(config, folder, names, [4])
    whole = json.loads((folder / MANIFEST).read_text())
    called = []

    def graph_of(path, at_once):
        made = look if path.stem == EVALUATION else graph
        return lambda given: called.append(path.stem) or made(*given)

    monkeypatch.setattr(compiled, "loaded", graph_of)
    (folder / MANIFEST).write_text(
        json.dumps(whole | {EVALUATION: {"names": figures, "given": described(inputs(theta, part))}})
    )
    run = config.changed({"compiled": "auto"})
    found, plain = (
        [event for event in train(each, threads=2) if isinstance(event, Evaluated)] for each in (run, config)
    )
    assert called.count(EVALUATION) == 2 * (len(plain) - 1), "the first look is before the library is taken up"
    for ours, theirs in zip(found, plain, strict=True):
        for name, curve in theirs.curves.items():
            torch.testing.assert_close(ours.curves[name], curve, rtol=1e-3, atol=1e-4)
    (folder / MANIFEST).write_text(json.dumps(whole | {EVALUATION: {"refused": "for a reason"}}))
    called.clear()
    assert notes(train(run)) == [(0, "compiled, as kept from an earlier run; evaluations are not: for a reason")]
    assert EVALUATION not in called
    assert key(config, [4]) != key(config.changed({"evaluation_tasks": 2 * FEWEST + 1}), [4])


def test_tasks_of_another_layout_than_was_promised_stay_eager(home, monkeypatch):
    config = auto()
    sizes = [config.meta_batch_size]
    names = {part: [] for part in ENTRIES}
    keep(config, home / "cache" / "compiled" / key(config, sizes), names, sizes)
    monkeypatch.setattr(compiled, "loaded", lambda *_: pytest.fail)
    step, theta = MetaStep(config, CPU, sizes, 1), initialise(config)
    assert step.news(theta) == "compiled, as kept from an earlier run"
    batch = config.family.sample(4, "train", stream(0, "train"))
    moved = batch.__class__(batch.support._replace(x=batch.support.x.clone()), batch.query)
    assert moved.support.x.stride() != batch.support.x.stride()
    expected = differentiated(config, theta, batch, 0)
    found = step(theta, moved, 0)
    assert same(found.gradient, expected.gradient)


def test_a_damaged_library_is_thrown_away_and_the_run_goes_on(home):
    config = auto()
    folder = home / "cache" / "compiled" / key(config, [4])
    keep(config, folder, {part: [] for part in ENTRIES}, [4])
    found = list(train(config))
    ((_, said),) = notes(found)
    assert said.startswith("not compiled: ")
    assert outer_steps(found) == outer_steps(train(small()))
    assert not folder.exists()


@pytest.mark.parametrize("crowded", [False, True])
def test_what_is_kept_of_compiling_is_bounded(home, monkeypatch, crowded):
    """Libraries by number; beside them what compilers leave, by age, and by size where that is too much."""
    monkeypatch.setattr(compiled, "KEPT", 2)
    monkeypatch.setattr(compiled, "WORKSHOP_BYTES", 3_000 if crowded else 5_000)
    now, cache = time.time(), home / "cache"
    for age, name in enumerate(("used", "newer", "older")):
        (cache / "compiled" / name).mkdir(parents=True)
        os.utime(cache / "compiled" / name, (now - age, now - age))
    for name, age in (("ab", 2 * compiled.A_DAY), ("leftover", 2 * compiled.A_DAY), ("cd", 400), ("at work", 10)):
        (cache / "inductor" / name).mkdir(parents=True)
        (cache / "inductor" / name / "file").write_bytes(bytes(1_000))
        os.utime(cache / "inductor" / name, (now - age, now - age))
    compiled._tidy(cache / "compiled" / "used")
    assert {path.name for path in (cache / "compiled").iterdir()} == {"used", "newer"}
    left = {path.name for path in (cache / "inductor").iterdir()}
    assert left == ({"at work"} if crowded else {"ab", "cd", "at work"})


def test_another_inner_rate_is_prepared_anew(home, monkeypatch):
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-there")
    events = train(auto())
    assert isinstance(settled(events)[-1], Noted)
    assert isinstance(events.send(Change({"algorithm.inner_lr": 0.02})), Changed)
    assert notes(events)
    assert key(auto(), [4]) != key(auto().changed({"algorithm.inner_lr": 0.02}), [4])


def test_a_library_has_another_name_for_whatever_it_depends_on():
    config = small()
    others = [small(seed=1), small(outer_lr=0.1), small(outer_steps=3)]
    assert {key(each, [4]) for each in others} == {key(config, [4])}
    different = [small(meta_batch_size=5), small(REPTILE), small(outer_optimiser="natural"), small(PLUS)]
    assert len({key(each, [4]) for each in [config, *different]} | {key(config, [3])}) == 6


def found_compiler() -> bool:
    try:
        return bool(compiler()) and sys.platform != "win32"
    except NotCompiled:
        return False


@pytest.mark.skipif(not found_compiler(), reason="no C++ compiler on this machine")
def test_a_library_that_the_compiler_made_gives_the_eager_numbers(home, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "0")  # trying out the processor takes longer than all the rest
    config = auto(model={"name": "mlp", "widths": [3]}, outer_steps=1_000_000, evaluate_every=100_000)
    events = train(config)
    seen = settled(events)
    assert seen[-1].text.startswith("compiled after ")
    seen += [next(events) for _ in range(200)]
    events.close()
    again = train(config)
    assert settled(again)[-1].text == "compiled, as kept from an earlier run"
    from_start = outer_steps(next(again) for _ in range(100))
    again.close()
    plain = train(config.changed({"compiled": "off"}))
    steps = outer_steps(next(plain) for _ in range(102))
    assert list(outer_steps(seen)) == list(range(1, len(outer_steps(seen)) + 1))
    for step, metrics in from_start.items():
        assert metrics == pytest.approx(steps[step], rel=1e-3, abs=1e-4)
