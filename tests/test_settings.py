"""Declarations, checks and the sentences that a person reads when a setting is wrong."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, model_validator

from metalab.algorithms import ALGORITHMS, MAML, Reptile
from metalab.models import MLP, MODELS, Conv4
from metalab.settings import Settings, declarations, explain, setting
from metalab.tasks import FAMILIES
from metalab.tasks.sinusoid import Sinusoid
from metalab.training.config import RunConfig

REGISTERED = [*FAMILIES.values(), *MODELS.values(), *ALGORITHMS.values(), RunConfig]
DECLARED = [(cls, declaration) for cls in REGISTERED for declaration in declarations(cls)]
EACH = pytest.mark.parametrize(("cls", "declared"), DECLARED, ids=[f"{c.__name__}.{d.name}" for c, d in DECLARED])


@EACH
def test_every_setting_is_explained_to_a_person(cls, declared):
    assert declared.label
    assert declared.label[0].isupper()
    assert "_" not in declared.label
    assert declared.help.endswith(".")
    assert 10 < len(declared.help) < 250


@EACH
def test_every_default_is_allowed(cls, declared):
    """pydantic does not check defaults by itself."""
    assert getattr(cls.model_validate({declared.name: declared.default}), declared.name) == declared.default
    if declared.choices:
        assert declared.default in declared.choices
    ends = declared.default if declared.is_range else (declared.default, declared.default)
    if declared.low is not None:
        assert declared.low <= ends[0]
    if declared.high is not None:
        assert ends[0] <= ends[1] <= declared.high


@EACH
def test_every_number_has_a_range_that_a_slider_can_draw(cls, declared):
    assert declared.type in (int, float, bool, str, tuple)
    if (declared.type in (int, float) and not declared.choices) or declared.is_range:
        assert declared.low is not None
        assert declared.high is not None
        assert declared.low < declared.high
        assert declared.scale == "linear" or declared.low > 0


@EACH
def test_a_condition_names_a_sibling_and_a_value_that_it_can_have(cls, declared):
    siblings = {other.name: other for other in declarations(cls)}
    for name, value in declared.only_if.items():
        assert name in siblings
        assert getattr(cls.model_validate({name: value}), name) == value


@pytest.mark.parametrize(
    ("cls", "given", "sentence"),
    [
        (MAML, {"inner_lr": "fast"}, "inner_lr = 'fast': expected a number"),
        (MAML, {"inner_lr": None}, "inner_lr = None: expected a number"),
        (MAML, {"inner_lr": 5}, "inner_lr = 5: expected less than or equal to 2"),
        (MAML, {"inner_lr": 0}, "inner_lr = 0: expected greater than or equal to 0.0001"),
        (MAML, {"inner_lr": float("nan")}, "inner_lr = nan: expected a finite number"),
        (MAML, {"inner_lr": float("inf")}, "inner_lr = inf: expected a finite number"),
        (MAML, {"inner_lr": "-inf"}, "inner_lr = '-inf': expected a finite number"),
        (MAML, {"inner_steps": "many"}, "inner_steps = 'many': expected an integer"),
        (MAML, {"inner_steps": 1.5}, "inner_steps = 1.5: expected an integer"),
        (MAML, {"inner_steps": True}, "inner_steps = True: expected an integer"),
        (MAML, {"inner_lr": True}, "inner_lr = True: expected a number"),
        (MAML, {"order": True}, "order = True: expected 2 or 1"),
        (MLP, {"widths": [40, True]}, "widths = [40, True]: expected numbers"),
        (MAML, {"inner_steps": [1]}, "inner_steps = [1]: expected an integer"),
        (MAML, {"inner_steps": 10**30}, f"inner_steps = {10**30}: expected less than or equal to 20"),
        (MAML, {"order": 3}, "order = 3: expected 2 or 1"),
        (MAML, {"inner_speed": 1}, "inner_speed = 1: no setting of that name exists here"),
        (Reptile, {"inner_optimiser": "lion"}, "inner_optimiser = 'lion': expected 'sgd' or 'adam'"),
        (MLP, {"activation": "gelu"}, "activation = 'gelu': expected 'relu', 'tanh' or 'softplus'"),
        (MLP, {"widths": "40,40"}, "widths = '40,40': expected a list"),
        (MLP, {"widths": 40}, "widths = 40: expected a list, e.g. [40]"),
        (MLP, {"widths": [40, 0]}, "widths.1 = 0: expected greater than or equal to 1"),
        (MLP, {"widths": [1] * 7}, "widths = [1, 1, 1, 1, 1, 1, 1]: expected at most 6 items, not 7"),
        (Conv4, {"name": "mlp"}, "name = 'mlp': expected 'conv4'"),
        (Sinusoid, {"shots": 0}, "shots = 0: expected greater than or equal to 1"),
        (Sinusoid, {"shots": "x" * 100}, f"shots = '{'x' * 56}...: expected an integer"),
    ],
)
def test_one_sentence_says_which_value_and_what_was_expected(cls, given, sentence):
    with pytest.raises(ValidationError) as caught:
        cls(**given)
    assert explain(caught.value) == sentence
    assert explain(caught.value, "the link") == f"{sentence} (from the link)"


class Ranged(Settings):
    name: Literal["ranged"] = "ranged"
    span: tuple[float, float] = setting((0.5, 2.0), "From where to where.", low=0.0, high=10.0, step=0.5)


@pytest.mark.parametrize("given", [(0.5, 2.0), [1, 1], (0, 10), ["1", 2.5]])
def test_a_range_is_two_numbers_within_its_ends(given):
    settings = Ranged(span=given)
    assert settings.span == (float(given[0]), float(given[1]))
    assert Ranged.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((2, 1), "span = (2, 1): expected two numbers from 0 to 10, the smaller one first"),
        ((-1, 1), "span = (-1, 1): expected two numbers from 0 to 10, the smaller one first"),
        ([0, 11], "span = [0, 11]: expected two numbers from 0 to 10, the smaller one first"),
        ((1, float("nan")), "span.1 = nan: expected a finite number"),
        ((1, "x"), "span.1 = 'x': expected a number"),
        ((1,), "span.1 is missing"),
        ((1, 2, 3), "span = (1, 2, 3): expected at most 2 items, not 3"),
        (3, "span = 3: expected two numbers low,high"),
        ("wide", "span = 'wide': expected two numbers low,high"),
        (None, "span = None: expected a list"),
    ],
)
def test_what_is_no_range_is_named(given, sentence):
    with pytest.raises(ValidationError) as caught:
        Ranged(span=given)
    assert explain(caught.value) == sentence


def test_a_range_is_declared_as_such_and_a_list_of_numbers_is_not():
    span = next(declarations(Ranged))
    assert (span.type, span.is_range, span.low, span.high, span.step) == (tuple, True, 0.0, 10.0, 0.5)
    assert not next(declarations(MLP)).is_range


class Small(Settings):
    name: Literal["small"] = "small"
    size: int = setting(1, "How big it is.", low=1, high=3)


class Large(Settings):
    name: Literal["large"] = "large"


class Pair(Settings):
    name: Literal["pair"] = "pair"
    left: int = setting(1, "How much lies on the left.", low=1, high=3)
    right: int = setting(1, "How much lies on the right.", low=1, high=3)

    @model_validator(mode="after")
    def _balanced(self) -> Pair:
        if self.left + self.right > 3:
            raise ValueError(f"left + right = {self.left + self.right}, expected at most 3")
        return self


class Whole(Settings):
    model: Annotated[Small | Large | Pair, Field(discriminator="name")]
    limit: int = setting(2, "How big it may be.", low=1, high=3, advanced=True, scale="log", step=1, label="Limit")
    mood: Literal["calm", "wild"] | None = setting(None, "How it feels.", only_if={"limit": 2})

    @model_validator(mode="after")
    def _fits(self) -> Whole:
        if isinstance(self.model, Small) and self.model.size > self.limit:
            raise ValueError(f"a size of {self.model.size} is over the limit of {self.limit}")
        return self


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"model": {"name": "small", "size": 9}}, "model.size = 9: expected less than or equal to 3"),
        ({"model": {"name": "tiny"}}, "model.name = 'tiny': expected one of 'small', 'large', 'pair'"),
        ({"model": {"name": "large", "size": 1}}, "model.size = 1: no setting of that name exists here"),
        ({"model": {"name": "small", "size": 3}}, "a size of 3 is over the limit of 2"),
        ({"model": {"name": "pair", "left": 2, "right": 2}}, "left + right = 4, expected at most 3"),
        ({}, "model is missing"),
        ({"model": {}}, "model.name is missing"),
        ({"model": 7}, "model = 7: expected a dictionary of settings"),
        (7, "settings = 7: expected a dictionary of settings"),
    ],
)
def test_nested_settings_are_named_as_a_person_writes_them(given, sentence):
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(given)
    assert explain(caught.value) == sentence
    assert explain(caught.value, "run.json") == f"{sentence} (from run.json)"


def test_only_the_first_problem_is_told():
    with pytest.raises(ValidationError) as caught:
        MAML(inner_lr=5, inner_steps=99)
    assert explain(caught.value) == "inner_lr = 5: expected less than or equal to 2"


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        MAML().inner_lr = 0.5  # type: ignore[misc]


def test_declarations_say_what_was_declared():
    limit, mood = declarations(Whole)
    assert (limit.name, limit.label, limit.help) == ("limit", "Limit", "How big it may be.")
    assert (limit.default, limit.type, limit.low, limit.high, limit.step) == (2, int, 1.0, 3.0, 1)
    assert (limit.scale, limit.advanced, limit.choices) == ("log", True, ())
    assert (mood.label, mood.choices, mood.type, mood.default) == ("Mood", ("calm", "wild"), str, None)
    assert mood.only_if == {"limit": 2}
    assert [d.name for d in declarations(MLP)] == ["widths", "activation"]
    assert next(declarations(MLP)).type is tuple


def test_settings_survive_a_trip_through_json():
    for cls in (*FAMILIES.values(), *MODELS.values(), *ALGORITHMS.values()):
        assert isinstance(cls(), BaseModel)
        assert cls.model_validate_json(cls().model_dump_json()) == cls()
