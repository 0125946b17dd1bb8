"""Scripts draw every family's tasks as the run does: the same losses, the same held-out figures."""

from __future__ import annotations

import numpy as np
import pytest
from side_by_side import as_list, assert_the_same, by_script, small

from metalab.tasks import mnist
from metalab.tasks.characters import Characters, Library
from metalab.tasks.mnist import Mnist

TINY = {"model": {"name": "mlp", "widths": [8]}}


@pytest.mark.parametrize(
    "over",
    [
        {"family": {"name": "sinusoid", "noise": 0.3, "frequency": (0.5, 2.0), "shots": 3, "queries": 6}},
        {"family": {"name": "sinusoid", "frequency": (2.0, 2.0)}, "model": {"name": "mlp", "widths": [8]}},
        {"family": {"name": "linear", "dimension": 3}, "model": {"name": "mlp", "activation": "softplus"}},
        {"family": {"name": "linear", "dimension": 3}, "algorithm": "in_context"},
        {"family": {"name": "mixture", "noise": 0.1}, "algorithm": "cnp"},
        {"family": {"name": "mixture", "lines": False}},
        {"family": {"name": "quadratic", "noise": 0.2, "query_shift": 0.5, "query_curvature": "own"}},
        {"family": {"name": "quadratic", "turned": False}, "algorithm": "reptile", "outer_optimiser": "sgd"},
        {"family": {"name": "quadratic", "curvatures": (1.0, 2.0, 0.5, 2.0), "optima": (0.0, 1.0, -1.0, 2.0)}},
    ],
    ids=lambda over: "-".join(str(value) for part in over.values() for value in as_list(part)),
)
def test_functions_and_bowls_are_the_runs(over, tmp_path):
    assert_the_same(small(**over), tmp_path)


@pytest.mark.parametrize("model", ["policy", "mlp"])
@pytest.mark.parametrize(
    ("algorithm", "family"),
    [
        ({"name": "maml", "inner_steps": 2}, {}),
        ({"name": "maml", "inner_steps": 1}, {"curvature": "ratio", "normalise": False, "discount": 0.9}),
        ({"name": "reptile", "inner_batch": 2}, {"curvature": "dice"}),
        ({"name": "pretrained"}, {"std": 0.5}),
    ],
    ids=["log", "ratio", "dice", "pretrained"],
)
def test_a_point_that_learns_where_to_go_collects_the_runs_rewards(algorithm, family, model, tmp_path):
    family = {"name": "navigation", "shots": 4, "queries": 3, "horizon": 8, **family}
    config = small(family=family, algorithm=algorithm, model={"name": model, "widths": [8]}, outer_lr=1e-3)
    assert_the_same(config, tmp_path, exactly=model == "policy")


@pytest.mark.parametrize(
    ("family", "algorithm"),
    [
        ("languages", {"name": "maml", "inner_steps": 2, "inner_steps_eval": 2}),
        ("languages", "prototypes"),
        ("languages", "pretrained"),
        ("languages", "multi_task"),
        ("names", {"name": "maml", "inner_steps": 2, "inner_steps_eval": 2}),
        ("names", {"name": "reptile", "inner_steps": 2, "inner_batch": 2, "inner_steps_eval": 2}),
        ("names", {"name": "maml_plus_plus", "inner_steps": 2, "inner_steps_eval": 2}),
        ("names", {"name": "pretrained", "inner_steps_eval": 2}),
        ("names", "prompting"),
    ],
    ids=lambda part: part if isinstance(part, str) else part["name"],
)
def test_letters_are_read_and_written_with_the_runs_losses(family, algorithm, tmp_path):
    model = {"name": "char_transformer", "width": 8, "heads": 2} if family == "names" else {"name": "ngrams"}
    over = {"family": {"name": family, "shots": 3, "queries": 2}, "model": model, "outer_lr": 1e-3}
    assert_the_same(small(algorithm=algorithm, **over), tmp_path)


@pytest.fixture
def digits(monkeypatch):
    """A few random pictures in place of MNIST's."""

    def pictures():
        images = np.random.default_rng(0).integers(0, 256, (10, mnist.PICTURES, 28, 28), np.uint8)
        return {"test": Characters(images, tuple(map(str, range(10))))}

    monkeypatch.setattr(mnist, "ALL_DIGITS", Library(pictures, turn=False))
    monkeypatch.setattr(Mnist, "require", lambda self: None)


@pytest.mark.parametrize(
    ("family", "algorithm"),
    [
        ({"name": "rotated_mnist", "turn": 90.0}, "maml"),
        ({"name": "rotated_mnist"}, "multi_task"),
        ({"name": "permuted_mnist"}, "pretrained"),
        ({"name": "permuted_mnist"}, "nearest_neighbour"),
    ],
    ids=lambda part: part if isinstance(part, str) else part["name"],
)
def test_digits_in_another_guise_are_the_runs(family, algorithm, digits, tmp_path):
    family = {"ways": 3, "shots": 1, "queries": 2} | family
    assert_the_same(small(family=family, algorithm=algorithm, **TINY), tmp_path)


def test_away_from_home_the_script_looks_where_the_run_does(digits, tmp_path):
    family = {"name": "cross", "train_on": "glyphs", "test_on": "mnist", "ways": 3, "queries": 2}
    config = small(family=family, **TINY)
    assert_the_same(config, tmp_path)
    assert "loss_away" in by_script(config, tmp_path)[1][0]
