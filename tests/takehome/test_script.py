"""Scripts are run and compared with the trainer: the same tasks, the same losses, the same held-out figures."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest
from side_by_side import CONV4, GLYPHS, as_list, assert_the_same, by_script, by_trainer, small

from metalab.store import Note, Run
from metalab.takehome import script as writer
from metalab.takehome.script import NoScript, changes_of, file_name, refusal, script

IN_ITS_OWN_PROCESS = """
import json, pathlib, runpy, sys
import torch
torch.set_num_threads(1)
folder, found = pathlib.Path(__file__).parent, []
for name in {names}:
    found.append(runpy.run_path(str(folder / name))["train"](say=lambda line: None)[1])
assert not any(name.startswith("metalab") for name in sys.modules)
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "algorithm",
    [
        {"name": "maml", "order": 2, "inner_steps": 3},
        {"name": "maml", "order": 1, "inner_steps": 3},
        {"name": "reptile"},
        {"name": "reptile", "inner_optimiser": "adam", "inner_batch": 4},
        {"name": "anil", "inner_steps": 2},
        {"name": "boil"},
        {"name": "meta_sgd", "inner_steps": 2},
        {"name": "maml_plus_plus", "inner_steps": 3, "multi_step_until": 3},
        {"name": "maml_plus_plus", "inner_steps": 2, "anneal_order": True, "first_order_until": 2},
        {"name": "maml_plus_plus", "inner_steps": 2, "multi_step_loss": False, "learn_rates": False},
        {"name": "imaml", "inner_steps": 3},
        {"name": "imaml", "inner_steps": 2, "cg_steps": 0},
        {"name": "imaml", "inner_steps": 2, "cg_steps": 2, "damping": 1.0, "proximal": 0.5},
        {"name": "pretrained"},
        {"name": "linear_probe"},
        {"name": "linear_probe", "head": "ridge", "ridge": 0.5},
        {"name": "multi_task", "training_tasks": 7, "inner_steps_eval": 2},
        {"name": "multi_task", "training_tasks": 7, "inner_steps_eval": 2, "adapt_body": True},
        {"name": "cnp"},
        {"name": "cnp", "vary_shots": False},
        {"name": "in_context"},
    ],
    ids=lambda algorithm: "-".join(map(str, algorithm.values())),
)
def test_on_sine_waves_the_losses_are_the_runs_bit_for_bit(algorithm, tmp_path):
    assert_the_same(small(algorithm=algorithm), tmp_path)


@pytest.mark.parametrize(
    "over",
    [
        {"outer_optimiser": "sgd", "schedule": "linear", "clip_norm": 0.5},
        {"schedule": "cosine", "accumulate": 2, "seed": 7},
    ],
    ids=lambda over: "-".join(str(value) for part in over.values() for value in as_list(part)),
)
def test_every_setting_of_the_outer_loop_counts(over, tmp_path):
    assert_the_same(small(**over), tmp_path)


@pytest.mark.parametrize(
    "algorithm",
    [
        "maml",
        "anil",
        "pretrained",
        {"name": "reptile", "inner_batch": 5},
        {"name": "nil", "trained_as": "anil"},
        {"name": "nil", "trained_as": "maml"},
        {"name": "prototypes"},
        {"name": "prototypes", "metric": "cosine"},
        {"name": "imaml", "inner_steps": 3},
        {"name": "nearest_neighbour"},
        {"name": "multi_task", "inner_steps_eval": 2},
        {"name": "multi_task", "head": "ridge"},
    ],
    ids=str,
)
def test_on_characters_with_the_perceptron_the_losses_are_the_runs_bit_for_bit(algorithm, tmp_path):
    assert_the_same(small(**GLYPHS, model={"name": "mlp", "widths": [8]}, algorithm=algorithm), tmp_path)


def test_several_query_losses_are_added_up_as_in_the_run_but_for_rounding(tmp_path):
    config = small(**GLYPHS, model={"name": "mlp", "widths": [8]}, algorithm="maml_plus_plus")
    assert config.algorithm.inner_steps > 1
    assert_the_same(config, tmp_path, exactly=False)


@pytest.mark.parametrize("downsampling", ["strided", "max_pool"])
@pytest.mark.parametrize(
    "algorithm",
    [
        "maml",
        "anil",
        {"name": "reptile", "inner_steps": 2, "inner_batch": 5, "inner_steps_eval": 3},
        {"name": "pretrained", "inner_steps_eval": 3},
        "prototypes",
        "maml_plus_plus",
    ],
    ids=str,
)
def test_with_convolutions_the_losses_are_the_runs(algorithm, downsampling, tmp_path):
    model = CONV4["model"] | {"downsampling": downsampling}
    assert_the_same(small(**GLYPHS, model=model, algorithm=algorithm), tmp_path, exactly=False)


@pytest.mark.parametrize(
    "algorithm",
    [
        {"name": "imaml", "inner_steps": 2, "cg_steps": 2, "inner_steps_eval": 2},
        {"name": "nil", "trained_as": "maml"},
        {"name": "nil", "trained_as": "anil"},
        {"name": "nearest_neighbour"},
        {"name": "multi_task", "inner_steps_eval": 2},
        {"name": "in_context"},
    ],
    ids=lambda algorithm: "-".join(map(str, algorithm.values())),
)
def test_with_convolutions_those_that_are_seldom_seen_there_give_the_runs_losses_too(algorithm, tmp_path):
    model = {"name": "transformer", "filters": 4, "layers": 2, "heads": 2}
    model = model if algorithm["name"] == "in_context" else CONV4["model"]
    assert_the_same(small(**GLYPHS, model=model, algorithm=algorithm), tmp_path, exactly=False)


@pytest.mark.parametrize(
    "over",
    [
        {"algorithm": {"name": "maml", "inner_steps": 2}},
        {"algorithm": "reptile", "accumulate": 2, "clip_norm": 0.5},
        {"algorithm": {"name": "imaml", "inner_steps": 2}, "fisher_decay": 0.0},
        {"algorithm": {"name": "maml_plus_plus", "inner_steps": 2}, "schedule": "cosine"},
        {"algorithm": "cnp", "model": {"name": "cnp", "width": 8}, "accumulate": 2},
        {"algorithm": {"name": "pretrained", "inner_steps_eval": 2}},
        {**GLYPHS, "model": {"name": "mlp", "widths": [8]}, "algorithm": "prototypes"},
        {**GLYPHS, "model": {"name": "mlp", "widths": [8]}, "algorithm": "multi_task"},
        {**GLYPHS, **CONV4, "algorithm": {"name": "maml", "inner_steps_eval": 1}},
        {**GLYPHS, **CONV4, "algorithm": {"name": "pretrained", "inner_steps_eval": 1}, "outer_steps": 2},
    ],
    ids=lambda over: "-".join(str(value) for part in over.values() for value in as_list(part)),
)
def test_natural_gradient_steps_are_the_runs(over, tmp_path):
    over = {"outer_lr": 0.02, "fisher_damping": 0.3} | over
    assert_the_same(small(outer_optimiser="natural", **over), tmp_path, exactly=False)


def test_in_a_process_of_its_own_where_there_is_nothing_but_torch_the_losses_are_the_runs(tmp_path):
    configs = [small(outer_optimiser="natural"), small(algorithm="multi_task"), small(algorithm="cnp")]
    for config in configs:
        (tmp_path / file_name(config)).write_text(script(config))
    (tmp_path / "all.py").write_text(IN_ITS_OWN_PROCESS.format(names=[file_name(config) for config in configs]))
    # -I: neither this folder nor the environment tells it where metalab is.
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "all.py")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [by_trainer(config)[0] for config in configs]


def test_at_the_recommended_inner_rate_which_multiplies_what_is_rounded_otherwise_they_are_too(tmp_path):
    algorithm = {"name": "maml", "inner_steps_eval": 1}
    over = {"family": "glyphs", "model": "conv4", "algorithm": algorithm, "meta_batch_size": 2, "outer_steps": 3}
    assert_the_same(small(**over | {"evaluate_every": 3}), tmp_path, exactly=False)


def test_a_rate_that_was_turned_while_the_run_went_on_is_turned_in_the_script(tmp_path):
    config = small(algorithm="maml")
    changes = {1: {"algorithm.inner_lr": 0.05}, 3: {"outer_lr": 0.02}}
    assert_the_same(config, tmp_path, changes=changes, told={1: {"INNER_LR": 0.05}, 3: {"OUTER_LR": 0.02}})
    plain, _looks = by_script(config, tmp_path)
    turned, _looks = by_script(config, tmp_path, {1: {"INNER_LR": 0.05}})
    assert plain[:1] == turned[:1]
    assert plain[1] != turned[1]


def as_run(config, current=None):
    text = config.model_dump_json()
    whole = dict.fromkeys(Run.__dataclass_fields__, 0)
    return Run(**whole | {"config_json": text, "current_json": (current or config).model_dump_json()})


def test_notes_tell_what_was_changed_and_what_they_do_not_tell_is_refused():
    config = small(algorithm="maml")
    current = config.changed({"algorithm.inner_lr": 0.05})
    notes = [
        Note(3, "inner_lr changed from 0.01 to 0.02"),
        Note(4, "Paused."),
        Note(9, "inner_lr changed from .02 to .05"),
    ]
    assert changes_of(as_run(config, current), notes) == {3: {"INNER_LR": 0.02}, 9: {"INNER_LR": 0.05}}
    assert changes_of(as_run(config), []) == {}
    with pytest.raises(NoScript, match="not known exactly"):
        changes_of(as_run(config, current), notes[:1])


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({**GLYPHS, "model": {"name": "conv4", "batch_norm": "running"}}, "transductive"),
        ({"algorithm": {"name": "meta_sgd", "inner_steps": 0}}, "no rates to learn"),
    ],
)
def test_what_no_script_says_is_refused_in_one_sentence(over, said):
    config = small(**over)
    reason = refusal(config)
    assert said in reason
    assert reason.endswith("take its config, which the command line trains again.")
    with pytest.raises(NoScript, match=re.escape(reason)):
        script(config)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ("METHODS", "the algorithm maml"),
        ("FAMILIES", "the family sinusoid"),
        ("NETWORKS", "the network mlp"),
        ("OPTIMISERS", "the outer optimiser adam"),
    ],
)
def test_what_is_new_to_the_engine_is_refused_by_name(known, said, monkeypatch):
    monkeypatch.setattr(writer, known, ())
    assert refusal(small()) == (
        f"No script is written for {said}: take its config, which the command line trains again."
    )


@pytest.mark.parametrize(
    "over",
    [
        {},
        {**GLYPHS, **CONV4, "algorithm": "pretrained"},
        {"algorithm": "scratch"},
        {"algorithm": "imaml", "outer_optimiser": "natural", "accumulate": 2, "schedule": "cosine"},
        {**GLYPHS, "algorithm": "in_context", "outer_optimiser": "natural", "accumulate": 2, "schedule": "cosine"},
        {"family": "navigation"},
        {"family": "quadratic"},
        {"family": "languages", "algorithm": "multi_task"},
        {"family": "names", "algorithm": "maml_plus_plus"},
        {"family": "names", "algorithm": "prompting"},
    ],
    ids=lambda over: "-".join(str(value) for part in over.values() for value in as_list(part)),
)
def test_the_file_imports_torch_alone_and_is_no_wider_than_a_screen(over):
    text = script(small(**over))
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported <= {"math", "pathlib", "torch", "torch.nn"}
    assert max(map(len, text.splitlines())) <= 120
    assert "{" not in ast.get_docstring(ast.parse(text))


def test_from_scratch_nothing_is_trained_and_the_held_out_tasks_are_the_runs(tmp_path):
    config = small(algorithm="scratch")
    names = {"__name__": "script", "__file__": str(tmp_path / "s.py")}
    exec(script(config), names)
    theta = names["init"](names["torch"].Generator().manual_seed(names["SEED"]))
    held_out = names["sample_tasks"](names["EVALUATION_TASKS"], "validation", names["stream"]("validation"))
    _losses, looks = by_trainer(config)
    assert names["evaluate"](theta, held_out)["loss"] == pytest.approx(looks[0]["loss"], abs=1e-5)
