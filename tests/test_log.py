"""The log: one JSON object a line, whatever a name holds, and no more lines of refusals than anybody reads."""

from __future__ import annotations

import io
import json
import logging

import pytest

from metalab import log

HOSTILE = [
    'quote " and \\ backslash',
    'a\nb\r\n{"event": "run_failed"}',
    "\x1b[31mred\x1b[0m\x00\x07\x7f\x85",
    "\u202egnirts\u2066 \u2028next \ud800",
    "\u200f" + "ä" * 5_000,
    "%s %(event)s {event}",
]


@pytest.fixture
def lines():
    """What was logged, parsed; each line must be printable ASCII."""
    package, stream = logging.getLogger("metalab"), io.StringIO()
    before = package.handlers[:], package.level, package.propagate
    package.handlers[:] = []
    log.to_stderr()
    log.to_stderr()
    (handler,) = package.handlers
    handler.setStream(stream)

    def read():
        text = stream.getvalue()
        assert text.isascii()
        assert text.replace("\n", "").isprintable()
        return [json.loads(line) for line in text.splitlines()]

    yield read
    package.handlers[:], package.level, package.propagate = before


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_name_holds_stays_on_its_line(lines, name):
    log.tell("run_started", run="abc", name=name, step=3, rate=0.5, note=None)
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        **{"level": "info", "event": "run_started", "run": "abc", "step": 3, "rate": 0.5, "note": None},
        "name": name if len(name) <= log.LONGEST_FACT else name[: log.LONGEST_FACT - 1] + "…",
    }


def test_other_records_are_told_in_the_same_form_with_their_traceback_in_one_line(lines):
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("metalab.training.service").exception("Run %s failed.", "a\nb")
    (line,) = lines()
    assert (line["level"], line["event"], line["message"]) == ("error", "log", "Run a\nb failed.")
    assert "ValueError: first\nsecond" in line["trace"]


def test_who_is_refused_a_thousand_times_does_not_fill_the_log(lines, monkeypatch):
    now = [600.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    for _ in range(1_000):
        log.tell("refused", person="eve", why="too many")
    log.tell("refused", person="ada", why="too many")
    log.tell("run_started", run="abc")
    assert len(lines()) == log.LINES_A_MINUTE + 2
    assert lines()[-2]["left_out_before"] == 1_000 - log.LINES_A_MINUTE
    now[0] += 60
    log.tell("refused", person="eve", why="too many")
    assert lines()[-1]["person"] == "eve"
    assert "left_out_before" not in lines()[-1]


def test_the_same_error_again_and_again_does_not_fill_the_log_and_another_is_told(lines, monkeypatch):
    monkeypatch.setattr(log.time, "monotonic", lambda: 600.0)
    logger = logging.getLogger("metalab.some")
    for number in range(100):
        try:
            raise ValueError("x" * 20_000 + f"forged {number}\n\x1b[31m")
        except ValueError:
            logger.exception("A page failed.")
    assert len(lines()) == log.LINES_A_MINUTE
    assert all(line["trace"].endswith("\n\x1b[31m\n") and len(line["trace"]) == log.LONGEST_TRACE for line in lines())
    try:
        raise ValueError("elsewhere")
    except ValueError:
        logger.exception("A page failed.")
    assert lines()[-1]["trace"].endswith("ValueError: elsewhere\n")
    assert lines()[-1]["left_out_before"] == 100 - log.LINES_A_MINUTE


def test_many_names_fill_neither_log_nor_memory(lines, monkeypatch):
    monkeypatch.setattr(log.time, "monotonic", lambda: 600.0)
    for number in range(2 * log.ALL_LINES_A_MINUTE):
        log.tell("quota", person=f"forged {number}", why="too many")
    assert len(lines()) == log.ALL_LINES_A_MINUTE
    (thinned,) = (each for each in logging.getLogger("metalab").handlers[0].filters if isinstance(each, log.Thinned))
    assert len(thinned._seen) == log.ALL_LINES_A_MINUTE


def test_where_nobody_listens_nothing_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        log.tell("run_started", run="abc")
    assert not caplog.records
    with caplog.at_level(logging.INFO):
        log.tell("run_started", run="a\nb")
    assert caplog.messages == ['run_started {"run": "a\\nb"}']
