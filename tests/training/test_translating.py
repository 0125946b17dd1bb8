"""What the compiling process leaves behind when an evaluation cannot be compiled; the compiler is stood in for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_runs import small

from metalab.training import translating
from metalab.training.compiled import EVALUATION, MANIFEST, NotCompiled, Refused
from metalab.training.evaluation import FEWEST
from metalab.training.translating import prepare

CONFIG = small(evaluation_tasks=FEWEST, meta_batch_size=2)


@pytest.fixture
def libraries(monkeypatch) -> dict[str, object]:
    """Graphs by the name of the library that would be made of them; they are called as they are."""
    made: dict[str, object] = {}

    def translated(graph, given, path: Path) -> None:
        made[path.stem] = graph
        path.write_text("")

    monkeypatch.setattr(translating, "translated", translated)
    monkeypatch.setattr(translating, "loaded", lambda path, *_: lambda given: made[path.stem](*given))
    return made


def manifest(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text())


def test_the_manifest_of_the_meta_gradient_is_there_before_the_evaluation_is_begun(libraries, monkeypatch, tmp_path):
    traced, seen = translating.traced_evaluation, []

    def watched(*given):
        seen.append(manifest(tmp_path))
        return traced(*given)

    monkeypatch.setattr(translating, "traced_evaluation", watched)
    prepare(CONFIG, [2], tmp_path, 0)
    (before,) = seen
    after = manifest(tmp_path)
    assert set(libraries) == {"2", EVALUATION}
    assert after.pop(EVALUATION)["names"] == ["loss"]
    assert before == after
    assert set(before["parts"]) == {"2"}


@pytest.mark.parametrize(
    ("problem", "kept"),
    [
        (Refused("it has too many"), {"refused": "it has too many"}),
        (NotCompiled("it differs"), {"refused": "it differs"}),
        (OSError(28, "No space left on device"), None),
        (MemoryError(), None),
    ],
)
def test_only_what_would_come_again_is_kept_as_the_reason(libraries, monkeypatch, tmp_path, problem, kept):
    def fails(*_):
        raise problem

    monkeypatch.setattr(translating, "_evaluation", fails)
    if kept is None:
        with pytest.raises(type(problem)):  # for the answer to whoever asked
            prepare(CONFIG, [2], tmp_path, 0)
    else:
        prepare(CONFIG, [2], tmp_path, 0)
    assert manifest(tmp_path).get(EVALUATION) == kept
    assert set(manifest(tmp_path)["parts"]) == {"2"}


def test_a_wrong_accuracy_is_seen_beside_a_large_loss(libraries, monkeypatch, tmp_path):
    curves, translated = translating.curves, translating.translated

    def judged(*given):
        loss = curves(*given)["loss"]
        return {"loss": 0 * loss + 900.0, "accuracy": torch.full_like(loss, 0.9)}

    monkeypatch.setattr(translating, "curves", judged)

    def mistaken(graph, given, path):
        translated(graph, given, path)
        if path.stem == EVALUATION:
            loss, _ = graph(*given)
            libraries[path.stem] = lambda *_: [loss, torch.zeros_like(loss)]

    monkeypatch.setattr(translating, "translated", mistaken)
    prepare(CONFIG, [2], tmp_path, 0)
    why = manifest(tmp_path)[EVALUATION]["refused"]
    assert why == "its result differs from the eager one by 1 of its length (evaluation, accuracy)"
