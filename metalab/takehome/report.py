"""A run as one HTML file that opens offline: its settings, what was recorded, and its figures with plotly.js inside.

Whatever people have typed (a run's name, its notes) is text there and never markup.
"""

from __future__ import annotations

import html
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metalab.analysis.history import History, history
from metalab.figures.history import adaptation, held_out, training_loss
from metalab.figures.style import DARK, Picture, Say
from metalab.settings import Settings, declarations
from metalab.store import Run, Store
from metalab.training.config import RunConfig

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>
:root {{ color-scheme: light dark; --ink: light-dark(#16202B, #EEF3F7); --soft: light-dark(#51606E, #B3BFCA);
  --page: light-dark(#FFFFFF, #0F151C); --edge: light-dark(#D8DFE6, #2B3743); }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1000px;
  margin: 0 auto; padding: 1.5rem 1rem 4rem; }}
h1 {{ margin-bottom: 0; overflow-wrap: anywhere; }} h2 {{ margin: 2.2rem 0 0.4rem; }}
.soft, figcaption {{ color: var(--soft); }}
figure {{ margin: 0 0 1.5rem; }} figure div {{ height: 360px; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.25rem 0.8rem 0.25rem 0;
  border-bottom: 1px solid var(--edge); overflow-wrap: anywhere; }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; padding-right: 0.3rem; }}
.wide {{ overflow-x: auto; }}
</style>
</head>
<body>
{body}
<script>{plotly}</script>
<script>
const figures = {figures}, dark = {dark};
for (const [id, figure] of Object.entries(figures)) {{
  let text = JSON.stringify(figure);
  if (matchMedia("(prefers-color-scheme: dark)").matches)
    for (const [from, to] of Object.entries(dark)) text = text.replaceAll(from, to);
  const {{ data, layout }} = JSON.parse(text);
  Plotly.newPlot(id, data, layout, {{ responsive: true, displaylogo: false }});
}}
</script>
</body>
</html>
"""


@dataclass(frozen=True, eq=False)
class Account:
    """All that a report tells of a run."""

    run: Run
    config: RunConfig
    record: History
    notes: Sequence[tuple[int, str]]
    """After how many outer steps, and what."""


def account(store: Store, run_id: str) -> Account:
    """Raises RunNotFound, and ConfigError where this version does not know the run's settings."""
    run = store.get(run_id)
    config = run.current
    family = config.family
    record = history(store.metrics(run_id), store.evaluations(run_id), family.metric, family.loss_name)
    return Account(run, config, record, [(note.step, note.text) for note in store.notes(run_id)])


def report(told: Account, plotly_js: str, say: Say) -> str:
    """The HTML of a run; `plotly_js` is the chart library's text."""
    shown = pictures(told, say)
    body = [_title(told, say)]
    for picture in shown:
        caption = _text(picture.alt)
        plot = f'<div id="{picture.name}" role="img" aria-label="{caption}"></div>'
        body.append(f"<h2>{_text(picture.title)}</h2><figure>{plot}<figcaption>{caption}</figcaption></figure>")
    body += [_looks(told, say), _notes(told, say), _settings(told, say)]
    return PAGE.format(
        name=_text(told.run.name),
        body="\n".join(filter(None, body)),
        plotly=plotly_js.replace("</script", "<\\/script"),
        figures=_json({picture.name: picture.figure for picture in shown}),
        dark=_json(DARK),
    )


def pictures(told: Account, say: Say) -> list[Picture]:
    """The figures that the run's record allows."""
    algorithm, record = told.config.algorithm, told.record
    who = (algorithm.name, getattr(algorithm, "order", 2))
    shown = []
    if record.looks:
        shown.append(adaptation(record, who, algorithm.axis, say))
    if len(record.looks) > 1:
        shown.append(held_out(record, who, algorithm.axis, say))
    if len(record.steps):
        shown.append(training_loss(record, who, say))
    return shown


def _title(told: Account, say: Say) -> str:
    run, config = told.run, told.config
    what = say("{algorithm} on {family} with {network}").format(
        algorithm=say(config.algorithm.label), family=say(config.family.title), network=say(config.model.title)
    )
    state = say("Run {id}, {state} after {step} of {steps} outer steps; report of {date}.").format(
        id=run.id,
        state=say(run.state),
        step=f"{run.step:,}",
        steps=f"{config.outer_steps:,}",
        date=time.strftime("%Y-%m-%d"),
    )
    card = config.algorithm.card
    idea = f"{_text(say(config.algorithm.summary))} <a href='{_text(card.url)}'>{_text(card.paper)}</a>"
    return f"<h1>{_text(run.name)}</h1><p>{_text(what)}. <span class='soft'>{_text(state)}</span></p><p>{idea}</p>"


def _looks(told: Account, say: Say) -> str:
    if not told.record.looks:
        return ""
    unit = 100.0 if told.record.metric == "accuracy" else 1.0
    name = f"{say(told.record.metric)}{' (%)' if unit == 100 else ''}"
    head = (say("outer step"), say("before adaptation"), say("after adaptation"), say("± (95%)"), say("tasks"))
    rows = [
        (f"{look.step:,}", *(f"{unit * v:.4g}" for v in (look.mean[0], look.mean[-1], look.ci95[-1])), str(look.tasks))
        for look in told.record.looks
    ]
    title = say("Held-out tasks: {metric}").format(metric=name)
    return f"<h2>{_text(title)}</h2>{_table(head, rows, numbers=True)}"


def _notes(told: Account, say: Say) -> str:
    if not told.notes:
        return ""
    rows = [(f"{step:,}", text) for step, text in told.notes]
    return f"<h2>{_text(say('What happened'))}</h2>{_table((say('outer step'), say('note')), rows)}"


def _settings(told: Account, say: Say) -> str:
    rows = [(say(label), _value(value), name) for label, value, name in settings_of(told.config)]
    head = (say("setting"), say("value"), say("name"))
    return f"<h2>{_text(say('Settings'))}</h2>{_table(head, rows)}"


def settings_of(config: RunConfig) -> Iterator[tuple[str, Any, str]]:
    """Label, value and dotted name of every setting of a run."""
    parts: list[tuple[str, Settings]] = [
        ("family", config.family),
        ("model", config.model),
        ("algorithm", config.algorithm),
        ("", config),
    ]
    for name, part in parts:
        prefix = f"{name}." if name else ""
        if name:
            yield name.capitalize(), getattr(part, "name", ""), f"{prefix}name"
        for declared in declarations(type(part)):
            yield declared.label, getattr(part, declared.name), f"{prefix}{declared.name}"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    kind = " class='n'" if numbers else ""
    top = "".join(f"<th{kind}>{_text(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td{kind}>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _json(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(_plain(value), allow_nan=False).replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
