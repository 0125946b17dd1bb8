"""Run configs: what is filled in, what is refused and how that is said, what may change on the way."""

from __future__ import annotations

import json

import pytest

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Learner
from metalab.models import MODELS
from metalab.tasks import FAMILIES
from metalab.training.config import LIVE, ConfigError, RunConfig, parse_config, set_dotted
from metalab.training.recommended import recommended


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_family_and_algorithm_has_a_start_that_survives_json(family, algorithm):
    model = MODELS[recommended(family, algorithm)["model"]["name"]]()
    learner = Learner(model, FAMILIES[family]())
    reason = ALGORITHMS[algorithm]().misfit(learner)
    if reason:
        with pytest.raises(ConfigError) as caught:
            parse_config({"family": family, "algorithm": algorithm})
        assert str(caught.value) == reason
        return
    config = parse_config({"family": family, "algorithm": algorithm})
    assert (config.family.name, config.algorithm.name) == (family, algorithm)
    assert parse_config(json.loads(config.model_dump_json())) == config


def test_nothing_given_is_maml_on_sine_waves():
    config = parse_config({})
    assert (config.family.name, config.model.name, config.algorithm.name) == ("sinusoid", "mlp", "maml")
    assert (config.algorithm.inner_lr, config.outer_lr, config.meta_batch_size) == (0.01, 1e-3, 25)


def test_what_is_given_beats_what_is_recommended():
    start = recommended("sinusoid", "reptile")
    assert start["outer_lr"] == 0.3
    given = {"algorithm": {"name": "reptile", "inner_steps": 3}, "outer_lr": 0.1}
    config = parse_config(given)
    assert (config.outer_lr, config.algorithm.inner_steps) == (0.1, 3)
    assert config.algorithm.inner_lr == start["algorithm"]["inner_lr"]
    assert config.schedule == start["schedule"]


def test_a_config_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        parse_config({}).seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"outer_lr": 2}, ("outer_lr = 2", "less than or equal to 1")),
        ({"outer_lr": "fast"}, ("outer_lr = 'fast'", "number")),
        ({"outer_lr": float("nan")}, ("outer_lr = nan", "finite")),
        ({"meta_batch_size": 2.5}, ("meta_batch_size = 2.5",)),
        ({"algorithm": {"name": "maml", "inner_lr": 9}}, ("algorithm.inner_lr = 9",)),
        ({"algorithm": {"name": "maml", "order": 3}}, ("algorithm.order = 3",)),
        ({"algorithm": "reptille"}, ("algorithm.name = 'reptille'", "'reptile'")),
        ({"family": {"name": "sinusoid", "ways": 5}}, ("family.ways = 5", "no setting of that name")),
        ({"learning_rate": 1}, ("learning_rate = 1", "no setting of that name")),
        ({"model": "conv4"}, ("conv4 reads images",)),
    ],
)
def test_an_error_names_the_value_what_was_expected_and_its_source(given, parts):
    with pytest.raises(ConfigError) as caught:
        parse_config(given, "lesson.json")
    for part in (*parts, "(from lesson.json)"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_never_meta_trained_has_no_running_averages():
    network = {"name": "conv4", "batch_norm": "running"}
    with pytest.raises(ConfigError, match=r"scratch has no meta-training .* choose transductive or support_plus_one"):
        parse_config({"family": "glyphs", "model": network, "algorithm": "scratch"})
    assert parse_config({"family": "glyphs", "model": network}).learner.model.keeps_averages


@pytest.mark.parametrize("data", [[], "maml", 3, None])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(ConfigError):
        parse_config(data)


def test_changing_makes_a_new_checked_config():
    config = parse_config({})
    after = config.changed({"outer_lr": 0.01, "algorithm.inner_lr": 0.5})
    assert (after.outer_lr, after.algorithm.inner_lr) == (0.01, 0.5)
    assert config.outer_lr == 1e-3
    assert after.changed({"outer_lr": 1e-3, "algorithm.inner_lr": 0.01}) == config
    with pytest.raises(ConfigError, match=r"algorithm\.inner_lr = 99"):
        config.changed({"algorithm.inner_lr": 99})


BOTH, OUTER = ("outer_lr", "algorithm.inner_lr"), ("outer_lr",)


@pytest.mark.parametrize(
    ("algorithm", "live"),
    [
        ({"name": "maml"}, BOTH),
        ({"name": "reptile"}, BOTH),
        ({"name": "anil"}, BOTH),
        ({"name": "imaml"}, BOTH),
        ({"name": "nil"}, BOTH),
        ({"name": "meta_sgd"}, OUTER),
        ({"name": "meta_sgd", "learn_rates": False}, BOTH),
        ({"name": "maml_plus_plus"}, BOTH),
        ({"name": "maml_plus_plus", "learn_rates": False}, BOTH),
        ({"name": "linear_probe"}, BOTH),
        ({"name": "linear_probe", "head": "ridge"}, OUTER),
        ({"name": "prototypes"}, OUTER),
    ],
)
def test_what_may_change_while_running_is_what_has_an_effect(algorithm, live):
    config = parse_config({"family": "glyphs", "algorithm": algorithm})
    assert config.live == live
    assert set(BOTH) == set(LIVE)
    assert config.changed_live(dict.fromkeys(live, 0.02)) == config.changed(dict.fromkeys(live, 0.02))
    for name in (*(name for name in LIVE if name not in live), "seed", "algorithm.order"):
        with pytest.raises(ConfigError, match=f"^{name} .*; expected"):
            config.changed_live({name: 0.02})


def test_why_a_learned_rate_cannot_be_changed_is_said():
    with pytest.raises(ConfigError) as caught:
        parse_config({"algorithm": "meta_sgd"}).changed_live({"algorithm.inner_lr": 0.5})
    assert str(caught.value) == (
        "algorithm.inner_lr is only where the inner learning rates started that this run learns: changing it now has "
        "no effect; expected outer_lr"
    )


def test_a_dotted_name_through_a_value_is_refused():
    with pytest.raises(ConfigError, match=r"seed\.x: 'seed' holds a value"):
        set_dotted({"seed": 3}, "seed.x", 1)


def test_the_data_of_a_config_holds_every_setting():
    assert set(parse_config({}).model_dump(mode="json")) == set(RunConfig.model_fields)
