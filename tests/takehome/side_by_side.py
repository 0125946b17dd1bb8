"""A run by its script and by the trainer, and what must be the same."""

from __future__ import annotations

import pytest

from metalab.takehome.families import data, data_name
from metalab.takehome.script import file_name, script
from metalab.training.config import parse_config
from metalab.training.events import Change, Evaluated, OuterStep
from metalab.training.trainer import train

SMALL = {"outer_steps": 4, "evaluate_every": 2, "evaluation_tasks": 4, "meta_batch_size": 3, "device": "cpu"}
GLYPHS = {"family": {"name": "glyphs", "ways": 3, "shots": 2, "queries": 2}}
CONV4 = {"model": {"name": "conv4", "filters": 4}}


def as_list(part):
    return part.values() if isinstance(part, dict) else [part]


def small(**over):
    return parse_config(SMALL | over)


def by_script(config, folder, changes=None):
    """What the script finds: losses of the outer steps, and figures at each look."""
    path = folder / file_name(config)
    path.write_text(script(config, changes))
    if data_name(config.family):
        (folder / data_name(config.family)).write_bytes(data(config.family))
    names = {"__name__": "script", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), names)
    _theta, losses, looks = names["train"](say=lambda line: None)
    return losses, looks


def by_trainer(config, changes=None):
    """The same from the engine; `changes` are sent to it after so many outer steps."""
    losses, looks = [], {}
    events = train(config, threads=1)
    event = next(events)
    while event is not None:
        command = None
        if isinstance(event, OuterStep):
            losses.append(float(event.metrics["loss"]))
            command = Change((changes or {})[event.step]) if event.step in (changes or {}) else None
        elif isinstance(event, Evaluated):
            looks[event.step] = {name: curve.double().mean(0).tolist() for name, curve in event.curves.items()}
        try:
            event = events.send(command)
        except StopIteration:
            break
    return losses, looks


def assert_the_same(config, folder, *, exactly=True, changes=None, told=None):
    losses, looks = by_script(config, folder, told)
    expected, expected_looks = by_trainer(config, changes)
    assert len(losses) == config.outer_steps
    assert losses == (expected if exactly else pytest.approx(expected, abs=1e-5))
    assert looks.keys() == expected_looks.keys()
    for step, look in looks.items():
        assert look.keys() == expected_looks[step].keys()
        for name, values in look.items():
            # Relative only beyond 10, where a float32 has no sixth place: a perplexity.
            assert values == pytest.approx(expected_looks[step][name], abs=1e-5, rel=1e-6), (step, name)
