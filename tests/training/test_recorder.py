"""What the recorder writes when: a change of settings only with the checkpoint that knows it."""

from __future__ import annotations

from small_runs import small

from metalab.training.events import Change, Changed, Checkpointed, Look, OuterStep
from metalab.training.recorder import Recorder
from metalab.training.trainer import train


def test_a_change_is_told_with_its_checkpoint_and_not_before(serve):
    config, store = small(), serve().store
    run = store.create(config, "ada", state="running")
    recorder, told = Recorder(store, run, 0, lambda: None), []
    events, command = train(config), None
    event = next(events)
    while not (isinstance(event, OuterStep) and event.step == 4):
        recorder.take(event)
        told.append((type(event), event.step, store.get(run.id).current.outer_lr, len(store.notes(run.id))))
        command = Change({"outer_lr": 0.25}) if isinstance(event, OuterStep) and event.step == 3 else None
        event = events.send(Look() if isinstance(event, Changed) else command)
    events.close()
    before, after = config.outer_lr, 0.25
    assert told[-3:] == [(OuterStep, 3, before, 0), (Changed, 3, before, 0), (Checkpointed, 3, after, 1)]
    assert store.load_checkpoint(run.id).config.outer_lr == after
