"""The report of a real run: its numbers, its figures as JSON, and that text stays text."""

from __future__ import annotations

import json
import re

import pytest

from metalab.store import Store
from metalab.takehome.report import account, report, settings_of
from metalab.training.config import parse_config
from metalab.training.service import Service

CONFIG = parse_config(
    {
        "algorithm": {"name": "maml", "inner_lr": 0.037},
        "outer_steps": 4,
        "evaluate_every": 2,
        "evaluation_tasks": 3,
        "meta_batch_size": 2,
        "device": "cpu",
    }
)
NASTY = "<script>alert('a')</script> & \"b\""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    serving = Service(Store(tmp_path_factory.mktemp("home")), workers=1)
    run_id = serving.start(CONFIG, "me", NASTY)
    serving.wait(run_id, 30)
    yield account(serving.store, run_id)
    serving.close()


def figures(text):
    found = re.search(r"const figures = (\{.*\}), dark = ", text)
    return json.loads(found[1])


def test_it_holds_the_figures_and_the_chart_library_itself(told):
    text = report(told, "var Plotly = {};</script>", str)
    shown = figures(text)
    assert list(shown) == ["adaptation", "held_out", "training_loss"]
    assert shown["training_loss"]["data"][0]["y"] == pytest.approx(told.record.loss.tolist())
    assert all(f'id="{name}"' in text for name in shown)
    assert "var Plotly = {};<\\/script></script>" in text
    assert not re.findall(r"(?:src|href)=[\"'](?!https://arxiv)", text)
    for look in told.record.looks:
        assert f"{look.mean[-1]:.4g}" in text


def test_what_people_typed_stays_text(told):
    text = report(told, "", str)
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(&#x27;a&#x27;)&lt;/script&gt; &amp; &quot;b&quot;") == 2


def test_every_setting_is_listed_once(told):
    text, names = report(told, "", str), [name for _label, _value, name in settings_of(CONFIG)]
    assert len(set(names)) == len(names)
    assert {"family.shots", "model.widths", "algorithm.inner_lr", "outer_lr", "seed"} <= set(names)
    assert all(f"<td>{name}</td>" in text for name in names)
    assert "<td>0.037</td><td>algorithm.inner_lr</td>" in text
