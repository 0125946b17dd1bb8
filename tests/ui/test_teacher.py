"""The teacher's token: where it comes from, how it is compared, who is in charge and for how long."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging

import pytest
from starlette.requests import Request
from visiting import cookie

from metalab.store import COMMAND_LINE
from metalab.ui import identity, teacher
from metalab.ui.identity import owners_of, short_id
from metalab.ui.teacher import Desk, NotAdmitted, TokenError, open_desk, read_token

TOKEN = "a right horse"
COOKIES = {name: name[0] * 43 for name in ("ada", "eve")}
HOSTILE = [
    "",
    " ",
    "a right hors",
    "A right horse",
    "x" * 10**6,
    "\x00",
    "\ud800",
    "a right horse\x00",
    "🐴" * 99,
    "None",
]


@pytest.fixture
def clock(monkeypatch):
    """Moves the desk's clock."""
    now = [1_000_000.0]
    monkeypatch.setattr(teacher.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture(autouse=True)
def _a_desk_of_its_own():
    before = teacher.desk()
    yield
    teacher._desk = before


def request(who="ada", client="10.0.0.7", **headers):
    given = {"cookie": cookie(COOKIES[who]), "host": "localhost:8501", **headers}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    return Request({"type": "http", "headers": pairs, "client": (client, 9), "path": "/", "method": "GET"})


# --- where it comes from


def test_the_environment_comes_before_the_secrets_files_and_the_first_file_before_the_next(tmp_path):
    first, second, missing = (tmp_path / name for name in ("first.toml", "second.toml", "missing.toml"))
    first.write_text('teacher_token = "  from the first  "\n[other]\nkey = 1\n')
    second.write_text('teacher_token = "from the second"\n')
    assert read_token({"METALAB_TEACHER_TOKEN": f" {TOKEN}\n"}, [first]) == TOKEN
    assert read_token({"METALAB_TEACHER_TOKEN": "  "}, [missing, first, second]) == "from the first"
    first.write_text("[other]\nkey = 1\n")
    assert read_token({}, [first, second]) == "from the second"
    assert read_token({}, [missing, first]) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('teacher_token = "short"', "teacher_token in .* holds 5 characters: expected 8 to 256 characters"),
        ("teacher_token = 12345678", "teacher_token in .* holds a int: expected 8 to 256"),
        ("teacher_token = [", r"secrets.toml cannot be read as TOML \(TOMLDecodeError\): correct or remove it"),
        ("teacher_token = 'sesame sesame' garbage", "cannot be read as TOML"),
        (b"\xff\xfe", r"cannot be read as TOML \(UnicodeDecodeError\)"),
    ],
)
def test_a_token_that_cannot_be_used_stops_the_start_and_is_not_printed(tmp_path, text, said):
    path = tmp_path / "secrets.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TokenError, match=said) as refused:
        read_token({}, [path])
    assert "sesame" not in str(refused.value)
    with pytest.raises(TokenError, match="METALAB_TEACHER_TOKEN holds 7 characters"):
        read_token({"METALAB_TEACHER_TOKEN": "seven77"}, [])


# --- how it is compared


@pytest.mark.parametrize("given", HOSTILE)
def test_only_the_token_admits(given):
    desk = Desk(TOKEN)
    with pytest.raises(NotAdmitted, match=r"^This is not the teacher's token\.$"):
        desk.show(given, "eve", "10.0.0.7")
    assert not desk.in_charge("eve", at_the_machine=True)


def test_it_is_compared_in_constant_time_as_digests_of_one_length(monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(teacher, "hmac", type("spy", (), {"compare_digest": staticmethod(compare)}))
    desk = Desk(TOKEN)
    for given in ("a", "a right hors", "x" * 200):
        with pytest.raises(NotAdmitted):
            desk.show(given, "eve", given)
    desk.show(TOKEN, "ada", "10.0.0.8")
    assert [len(one) for one, _ in compared] == [32] * 4
    assert {other for _, other in compared} == {hashlib.sha256(TOKEN.encode()).digest()}
    assert TOKEN not in repr(vars(desk)), "the token itself is not kept"


def test_guessing_is_slow_from_one_address_and_leaves_others_in(clock, caplog):
    desk = Desk(TOKEN)
    for number in range(teacher.WRONG_A_MINUTE):
        with pytest.raises(NotAdmitted, match="This is not"):
            desk.show(f"guess {number}", f"fresh cookie {number}", "10.0.0.66")
    with caplog.at_level(logging.INFO), pytest.raises(NotAdmitted, match=r"Too many wrong tokens were tried\. Wait a"):
        desk.show(TOKEN, "eve", "10.0.0.66")
    assert caplog.messages[-1].startswith("refused ")
    assert TOKEN not in caplog.text
    desk.show(TOKEN, "ada", "10.0.0.7")
    assert desk.in_charge("ada", at_the_machine=False)
    clock[0] += teacher.MINUTE
    desk.show(TOKEN, "eve", "10.0.0.66")


def test_many_addresses_guess_no_faster(clock):
    desk, wrong = Desk(TOKEN), 0
    for number in range(1_000):
        with pytest.raises(NotAdmitted) as refused:
            desk.show("guess", "eve", f"10.0.{number // 256}.{number % 256}")
        wrong += str(refused.value).startswith("This is not")
    assert wrong == teacher.ALL_WRONG_A_MINUTE


def test_what_is_shown_is_logged_and_the_token_never(caplog):
    desk = Desk(TOKEN)
    with caplog.at_level(logging.INFO):
        with pytest.raises(NotAdmitted):
            desk.show("almost\n right", "eve", "10.0.0.7")
        desk.show(TOKEN, "ada", "10.0.0.7")
    told = [(message.split(" ", 1)[0], json.loads(message.split(" ", 1)[1])) for message in caplog.messages]
    assert told == [("teacher", {"person": "eve", "admitted": False}), ("teacher", {"person": "ada", "admitted": True})]


# --- who is in charge


def test_in_charge_is_who_showed_it_until_they_leave_or_half_a_day_has_passed(clock):
    desk = Desk(TOKEN)
    desk.show(f" {TOKEN} ", "ada", "10.0.0.7")
    assert desk.in_charge("ada", at_the_machine=False)
    assert not desk.in_charge("eve", at_the_machine=True), "with a token the machine itself counts for nothing"
    desk.leave("ada")
    assert not desk.in_charge("ada", at_the_machine=False)
    desk.show(TOKEN, "ada", "10.0.0.7")
    clock[0] += teacher.REMEMBERED_SECONDS - 1
    assert desk.in_charge("ada", at_the_machine=False)
    clock[0] += 1
    assert not desk.in_charge("ada", at_the_machine=False)


def test_without_a_token_whoever_sits_at_the_machine_is_in_charge_and_none_can_be_shown():
    desk = Desk()
    assert desk.in_charge("ada", at_the_machine=True)
    assert not desk.in_charge("ada", at_the_machine=False)
    with pytest.raises(NotAdmitted, match="No teacher's token is set"):
        desk.show("", "eve", "10.0.0.7")


def test_the_command_lines_runs_belong_to_whoever_showed_the_token_wherever_they_sit():
    ada, eve = (short_id("cookie", COOKIES[name]) for name in ("ada", "eve"))
    open_desk(TOKEN).show(TOKEN, ada, "10.0.0.7")
    assert owners_of(request("ada")) == {ada, COMMAND_LINE}
    assert owners_of(request("eve")) == {eve}
    assert owners_of(request("eve", "127.0.0.1")) == {eve}, "behind a proxy everybody may come from here"


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.3.2.1"])
def test_at_the_machine_by_either_protocol(client):
    assert COMMAND_LINE in owners_of(request(client=client))


@pytest.mark.parametrize(
    "header",
    [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "X-Forwarded-Server",
        "x-real-ip",
        "cf-connecting-ip",
        "true-client-ip",
        "x-client-ip",
        "x-original-forwarded-for",
    ],
)
def test_nobody_behind_a_proxy_sits_at_the_machine(header):
    assert COMMAND_LINE not in owners_of(request(client="127.0.0.1", **{header: "127.0.0.1"}))
    assert not identity._at_the_machine("127.0.0.1", {"Host": "localhost", header.title(): ""})


@pytest.mark.parametrize("client", ["10.0.0.7", "::ffff:10.0.0.7", "unknown", "", "127.0.0.1.evil.example", "0.0.0.0"])
def test_other_addresses_are_not_this_machine(client):
    assert COMMAND_LINE not in owners_of(request(client=client))


@pytest.mark.parametrize(
    ("address", "beyond"),
    [
        *((address, True) for address in (None, "0.0.0.0", "::", "192.168.1.2", "lab.example")),
        *((address, False) for address in ("127.0.0.1", "localhost", "::1", "unix:///run/lab.sock")),
    ],
)
def test_whether_others_can_reach_the_server(address, beyond, monkeypatch):
    monkeypatch.setattr("streamlit.config.get_option", {"server.address": address}.get)
    assert identity.listens_beyond_loopback() is beyond
