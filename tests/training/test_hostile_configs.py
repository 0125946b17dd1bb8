"""Configs that nobody would write by accident are refused in one sentence, or are what they should be."""

from __future__ import annotations

import math

import hostile_values as hostile
import pytest
from hypothesis import given
from hypothesis import strategies as some

from metalab.settings import declarations
from metalab.training.config import PARTS, ConfigError, RunConfig, parse_config
from metalab.training.sweeps import MOST_TRIALS, parse_plan

WHOLE = [parse_config({"family": name}).model_dump(mode="json") for name in ("sinusoid", "glyphs")]
PATHS = [(part, name) for data in WHOLE for part in ("", *PARTS) for name in (data[part] if part else data)]


@some.composite
def spoilt(draw):
    """A good config with a few values replaced by hostile ones."""
    good = draw(some.sampled_from(WHOLE))
    data = {name: dict(value) if isinstance(value, dict) else value for name, value in good.items()}
    for _ in range(draw(some.integers(1, 3))):
        part, name = draw(some.sampled_from(PATHS) | some.tuples(some.sampled_from(["", *PARTS]), hostile.texts))
        target = data[part] if part else data
        if isinstance(target, dict):
            target[name] = draw(hostile.values)
    return data


def within(config):
    """Whether every number of the config is finite and where its declaration holds it."""
    for settings in (config, config.family, config.model, config.algorithm):
        for declared in declarations(type(settings)):
            given_ = getattr(settings, declared.name)
            for number in given_ if isinstance(given_, tuple) else [given_]:
                if isinstance(number, bool | str) or number is None:
                    continue
                low, high = (math.nan if end is None else end for end in (declared.low, declared.high))
                if not math.isfinite(number) or number < low or number > high:
                    return False
    return True


@given(data=spoilt() | hostile.values)
def test_a_hostile_config_is_refused_in_a_sentence_or_within_its_ranges(data):
    config, said = hostile.attempt(lambda: parse_config(data, "a test"), ConfigError)
    if said is not None:
        assert hostile.in_one_sentence(said)
    else:
        assert within(config)
        assert RunConfig.model_validate_json(config.model_dump_json()) == config


AXES = some.lists(
    some.fixed_dictionaries(
        {"name": some.sampled_from(["seed", "outer_lr", "algorithm.inner_lr", "model.widths"]) | hostile.texts},
        optional={
            "values": some.lists(hostile.values, max_size=14),
            "low": hostile.scalars,
            "high": hostile.scalars,
            "log": hostile.scalars,
            "whole": hostile.scalars,
        },
    )
    | hostile.values,
    max_size=5,
)


@given(
    data=some.fixed_dictionaries(
        {"base": some.sampled_from(WHOLE) | spoilt() | hostile.values, "axes": AXES | hostile.values},
        optional={
            "method": some.sampled_from(["grid", "random", "optuna"]) | hostile.values,
            "trials": hostile.scalars,
            "seed": hostile.scalars,
        },
    )
)
def test_a_hostile_sweep_is_refused_in_a_sentence_or_small(data):
    plan, said = hostile.attempt(lambda: parse_plan(data), ConfigError)
    if said is not None:
        assert hostile.in_one_sentence(said)
    else:
        assert 1 <= plan.size <= MOST_TRIALS


@pytest.mark.parametrize("depth", [200, 900])
def test_a_config_nested_beyond_reason_is_refused(depth):
    nested: object = 1
    for _ in range(depth):
        nested = {"family": nested}
    with pytest.raises(ConfigError):
        parse_config(nested)
