"""Every registered family with every network and every algorithm: what the base classes promise.

A new family, network or algorithm is tested by being listed in its registry.
"""

from __future__ import annotations

import math
import os

import pytest
import torch

from metalab.algorithms import ALGORITHMS
from metalab.algorithms.base import Algorithm, Learner
from metalab.models import MODELS
from metalab.models.base import Model
from metalab.params import expand, statistics, weights
from metalab.settings import Settings, declarations
from metalab.tasks import FAMILIES
from metalab.tasks.base import DataMissing, TaskFamily
from metalab.training.config import ConfigError, parse_config

SMALL = {
    "ways": 3,
    "shots": 2,
    "queries": 2,
    "filters": 4,
    "widths": (8,),
    "inner_steps": 2,
    "inner_lr": 0.01,
}
TASKS = 2


def small(cls: type[Settings], **given: object) -> Settings:
    """The settings with whatever makes them large made small."""
    names = {declaration.name for declaration in declarations(cls)}
    return cls(**({name: value for name, value in SMALL.items() if name in names} | given))


def family_of(name: str) -> TaskFamily:
    family = small(FAMILIES[name])
    try:
        family.require()
    except DataMissing as reason:
        if os.environ.get("CI") and os.environ.get("METALAB_DATA"):
            raise
        pytest.skip(str(reason))
    return family


def other_choices(registry: dict[str, type[Settings]]) -> list:
    """Every member once for each value of its choices that is not the default: (name, settings)."""
    return [
        pytest.param(name, {declared.name: choice}, id=f"{name}-{declared.name}-{choice}")
        for name, cls in registry.items()
        for declared in declarations(cls)
        for choice in declared.choices
        if choice != declared.default
    ]


FUNCTIONS = ("sinusoid", "linear", "mixture")
IMAGES = ("glyphs", "omniglot", "mnist", "cross", "rotated_mnist", "permuted_mnist")
NO_CLASSES = (*FUNCTIONS, "quadratic", "navigation", "names")
REFUSED = {
    "boil": ("quadratic",),
    "multi_task": ("quadratic", "navigation", "names"),
    "nil": NO_CLASSES,
    "prototypes": NO_CLASSES,
    "nearest_neighbour": NO_CLASSES,
    "cnp": ("quadratic", "navigation", "names", "languages", *IMAGES),
    "in_context": ("quadratic", "navigation", "names", "languages"),
    "prompting": (*FUNCTIONS, "quadratic", "navigation", "languages", *IMAGES),
}
"""Families whose tasks an algorithm learns with no network; every other family it learns with one or more."""


@pytest.mark.parametrize("method", ALGORITHMS)
@pytest.mark.parametrize("family_name", FAMILIES)
def test_a_family_is_refused_before_any_network_is_blamed(family_name, method):
    """One sentence for the pair, whatever network is chosen, that names both; none for a pair that goes together."""
    family, algorithm = FAMILIES[family_name](), ALGORITHMS[method]()
    said = {algorithm.misfit(Learner(model(), family)) for model in MODELS.values()}
    if family_name not in REFUSED.get(method, ()):
        assert None in said
        return
    (reason,) = said
    assert reason is not None
    assert_sentence(reason)
    assert family_name in reason
    assert reason.lower().startswith(method)
    with pytest.raises(ConfigError) as caught:
        parse_config({"family": family_name, "algorithm": method})
    assert str(caught.value) == reason


@pytest.mark.parametrize("method", ALGORITHMS)
@pytest.mark.parametrize("family_name", FAMILIES)
def test_the_algorithm_that_a_refusal_points_to_learns_the_family(family_name, method):
    reason = ALGORITHMS[method]().misfit_with_family(FAMILIES[family_name]()) or ""
    advised = reason.rpartition(": choose ")[2]
    if advised in ALGORITHMS:
        assert family_name not in REFUSED.get(advised, ())
    if advised in FAMILIES:
        assert advised not in REFUSED[method]


@pytest.mark.parametrize("method", ALGORITHMS)
@pytest.mark.parametrize("family_name", FAMILIES)
def test_every_network_learns_the_family_with_the_algorithm_or_says_why_not(family_name, method):
    family, algorithm = family_of(family_name), small(ALGORITHMS[method])
    fitting = [network for network in MODELS if check(family, small(MODELS[network]), algorithm)]
    assert bool(fitting) is (family_name not in REFUSED.get(method, ())), "see REFUSED"
    recommended = parse_config({"family": family_name, "algorithm": method}).model.name if fitting else None
    assert recommended in (*fitting, None), "what is recommended goes together"


@pytest.mark.parametrize(("network", "choice"), other_choices(MODELS))
def test_every_choice_of_a_network_goes_with_every_algorithm(network, choice):
    model = small(MODELS[network], **choice)
    checked = [check_first(model, small(algorithm)) for algorithm in ALGORITHMS.values()]
    assert any(checked)


@pytest.mark.parametrize(("method", "choice"), other_choices(ALGORITHMS))
def test_every_choice_of_an_algorithm_goes_with_every_network(method, choice):
    algorithm = small(ALGORITHMS[method], **choice)
    checked = [check_first(small(model), algorithm) for model in MODELS.values()]
    assert any(checked)


def check_first(model: Model, algorithm: Algorithm) -> bool:
    """Check on the first family without a data set that goes with both; False where there is none."""
    families = [small(cls) for cls in FAMILIES.values() if not small(cls).data_sets]
    return any(check(family, model, algorithm) for family in families)


def check(family: TaskFamily, model: Model, algorithm: Algorithm) -> bool:
    """Whether the three go together; if so, that they keep every promise, else that the reason is a sentence."""
    learner = Learner(model, family)
    reason = algorithm.misfit(learner)
    if reason:
        assert_sentence(reason)
        return False
    theta = algorithm.init(learner, torch.Generator().manual_seed(0))
    assert all(value.dtype == torch.float32 and bool(value.isfinite().all()) for value in theta.values())
    theta = check_meta_gradient(learner, algorithm, theta)
    check_adapt(learner, algorithm, theta)
    return True


def check_meta_gradient(learner: Learner, algorithm: Algorithm, theta: dict) -> dict:
    """One outer step of plain descent, checked on the way; returns the new theta."""
    batch = learner.family.sample(TASKS, "train", torch.Generator().manual_seed(1))
    found = algorithm.meta_gradient(learner, theta, batch)
    assert {n: g.shape for n, g in found.gradient.items()} == {n: v.shape for n, v in weights(theta).items()}
    assert {n: s.shape for n, s in found.statistics.items()} == {n: v.shape for n, v in statistics(theta).items()}
    assert "loss" in found.metrics
    for values in (found.gradient, found.metrics, found.statistics):
        assert all(bool(value.isfinite().all()) and not value.requires_grad for value in values.values())
    assert all(value.shape == () for value in found.metrics.values())
    assert any(bool(g.any()) for g in found.gradient.values()) is algorithm.trains
    stepped = {name: value - 1e-3 * found.gradient[name] for name, value in weights(theta).items()}
    return stepped | found.statistics


def check_adapt(learner: Learner, algorithm: Algorithm, theta: dict) -> None:
    """Held-out tasks: K + 1 inner steps with finite losses, and predictions of the right shape after each."""
    family, steps = learner.family, 3
    batch = family.sample(TASKS, "test", torch.Generator().manual_seed(2))
    path = list(algorithm.adapt(learner, theta, batch.support, steps))
    if algorithm.axis == "shot":
        steps = min(steps, SMALL["shots"])
    assert [inner.k for inner in path] == list(range(steps + 1))
    assert path[-1].support_loss is None
    assert path[-1].gradient is None
    for inner in path[:-1]:
        if algorithm.alpha is None and not algorithm.learns_rates:
            assert (inner.support_loss, inner.gradient) == (None, None), "no step descends anything"
            continue
        assert inner.support_loss is not None
        assert inner.support_loss.shape == (TASKS,)
        assert bool(inner.support_loss.isfinite().all())
        assert inner.gradient
        assert all(g.shape == inner.phi[n].shape for n, g in inner.gradient.items())
    predictions = []
    for inner in path:
        assert all(value.shape[0] == TASKS for value in inner.phi.values())
        assert all(v.shape[1:] == theta[name].shape for name, v in inner.phi.items() if name in theta)
        prediction = algorithm.attempt(learner, inner.phi, batch.support, batch.query)
        assert prediction.shape[:2] == batch.query.x.shape[:2]
        figures = family.metrics(prediction, batch.query.y)
        assert {"loss", family.metric} <= set(figures)
        assert all(f.shape == (TASKS,) and bool(f.isfinite().all()) for f in figures.values())
        predictions.append(prediction)
    assert not torch.equal(predictions[0], predictions[-1])


def assert_sentence(reason: str) -> None:
    assert 10 < len(reason) < 200
    assert "\n" not in reason
    assert "Traceback" not in reason


@pytest.mark.parametrize("name", FAMILIES)
def test_same_seed_same_tasks(name):
    family = family_of(name)
    one, two, other = (family.sample(4, "train", torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    for part in ("support", "query"):
        mine, same, unlike = (getattr(batch, part) for batch in (one, two, other))
        assert torch.equal(mine.x, same.x)
        assert torch.equal(mine.y, same.y)
        assert not (torch.equal(mine.x, unlike.x) and torch.equal(mine.y, unlike.y))
    assert all(len(value) == 4 for value in one.info.values())


CLASSES = [name for name, cls in FAMILIES.items() if cls.kind == "classification"]
SHUFFLED = pytest.mark.parametrize("name", [name for name in CLASSES if FAMILIES[name].shuffles_labels])
FIXED = pytest.mark.parametrize("name", [name for name in CLASSES if not FAMILIES[name].shuffles_labels])
MANY = 400


@SHUFFLED
def test_labels_are_shuffled_anew_for_each_task(name):
    """A class has each label equally often: the mean class number of every label is that of all, to four errors."""
    family = family_of(name)
    classes = family.sample(MANY, "train", torch.Generator().manual_seed(0)).info["classes"].double()
    assert classes.shape == (MANY, family.output_size)
    error = float(classes.std()) / math.sqrt(MANY)
    assert (classes.mean(0) - (family.n_classes("train") - 1) / 2).abs().max() < 4 * error


@SHUFFLED
def test_before_adaptation_accuracy_is_one_in_n(name):
    """In expectation; here within four standard errors, for networks with one layer that do not favour one label."""
    family = family_of(name)
    learner = Learner(MODELS["ngrams"]() if family.tokens else MODELS["mlp"](widths=()), family)
    tasks = family.sample(MANY, "train", torch.Generator().manual_seed(1))
    for seed in range(3):
        phi = expand(learner.init(torch.Generator().manual_seed(seed)), MANY)
        prediction = learner.predict(phi, tasks.query.x, tasks.support.x)
        prediction = (prediction - prediction.mean((0, 1))) / prediction.std((0, 1))
        accuracy = family.metrics(prediction, tasks.query.y)["accuracy"]
        error = float(accuracy.std()) / math.sqrt(MANY)
        assert error > 0.005, "the predictions do not depend on the images"
        assert abs(float(accuracy.mean()) - 1 / family.output_size) < 4 * error


@FIXED
def test_labels_that_are_not_shuffled_are_the_classes(name):
    family = family_of(name)
    batch = family.sample(MANY, "train", torch.Generator().manual_seed(0))
    assert torch.equal(batch.info["classes"], torch.arange(family.output_size).expand(MANY, -1))
    assert family.n_classes("train") == family.output_size


@pytest.mark.parametrize("registry", [FAMILIES, MODELS, ALGORITHMS], ids=["families", "models", "algorithms"])
def test_registries_name_their_members_as_they_name_themselves(registry):
    for name, cls in registry.items():
        assert cls().name == name
        assert cls.title
        assert cls.summary.endswith((".", "?"))


KINDS = {"gradient-based", "metric-based", "model-based", "transfer", "baseline"}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_a_card_of_its_own(name):
    """Filled in, with a rule that is one piece of LaTeX in the field's letters, and not inherited unsaid."""
    cls = ALGORITHMS[name]
    assert "card" in vars(cls)
    card = cls.card
    assert card.kind in KINDS
    for text in (card.learned, card.adapts, card.gradient_order, card.memory, card.paper, card.rule):
        assert text.strip() == text != ""
        assert "\n" not in text
    assert card.url.startswith("https://")
    assert card.rule.count("{") == card.rule.count("}")
    assert card.rule.count(r"\begin") == card.rule.count(r"\end")
    assert any(letter in card.rule for letter in (r"\theta", r"\phi"))
