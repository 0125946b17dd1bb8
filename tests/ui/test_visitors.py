"""Signed cookies: whoever makes one up is nobody, old ones keep their runs, and newcomers come at a limited pace."""

import asyncio
import base64
import hashlib
import hmac
import re
import stat
import sys
import threading

import pytest
from small_runs import small
from starlette.requests import Request
from test_identity import GOOD, answer_to, scope, set_cookies
from visiting import cookie

from metalab.store import Store, StoreError, library, people, sweeps
from metalab.training.quotas import Limits
from metalab.ui import server, visitors
from metalab.ui.guard import GuardMiddleware
from metalab.ui.identity import short_id, user_of
from metalab.ui.visitors import Guestbook, KeyFileError, TooManyNewcomers, guestbook, open_guestbook, read_key

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def _a_book_of_its_own(monkeypatch):
    monkeypatch.setattr(visitors, "_guestbook", visitors._guestbook)


def test_a_cookie_is_the_token_and_its_hmac():
    mac = hmac.new(KEY, GOOD.encode(), hashlib.sha256).digest()
    assert Guestbook(KEY).signed(GOOD) == f"{GOOD}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def test_only_what_was_signed_with_this_secret_is_taken(monkeypatch):
    book, compared = Guestbook(KEY), []
    plain = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *given: compared.append(given) or plain(*given))
    good = book.signed(GOOD)
    assert book.token({book.cookie: good}) == GOOD
    assert len(compared) == 1
    foreign = Guestbook(KEY[::-1]).signed(GOOD)
    other = book.signed("y" * 43)
    for forged in (GOOD, f"{GOOD}.", foreign, good[:-1], good + "x", f"{'y' * 43}.{good[44:]}", good.upper(), "", "."):
        assert book.token({book.cookie: forged}) is None, forged
    assert book.token({book.cookie: f"{GOOD}.é\udc80"}) is None
    assert book.token({book.cookie: other}) == "y" * 43
    assert book.token({visitors.UNSIGNED: good}) is None
    assert book.token({}) is None


def test_each_home_has_a_cookie_of_its_own_name():
    one, other = Guestbook(KEY), Guestbook(KEY[::-1])
    assert re.fullmatch(r"metalab_user_[0-9a-f]{8}", one.cookie)
    assert one.cookie != other.cookie
    assert one.cookie == Guestbook(KEY).cookie


@pytest.mark.parametrize("value", [GOOD, f"{GOOD}.{'x' * 43}", "<script>"])
def test_a_made_up_cookie_is_nobodys_and_gets_a_fresh_one(value):
    mine = scope(cookie=f"{guestbook().cookie}={value}")
    (given,) = set_cookies(mine)
    assert value not in given
    assert user_of(Request(mine)) == short_id("address", "10.0.0.7")


# --- those from before


def old(token=GOOD):
    return scope(cookie=f"{visitors.UNSIGNED}={token}")


def test_an_unsigned_cookie_whose_visitor_has_runs_is_signed_and_keeps_them(tmp_path, monkeypatch):
    store, config = Store(tmp_path), small()
    run = store.create(config, short_id("cookie", GOOD), state="stopped")
    monkeypatch.setattr(server.runs, "store", lambda: store)
    server._open_guestbook()
    (given,) = set_cookies(old())
    value = re.match(r"[^=]+=([^;]+)", given).group(1)
    assert short_id("cookie", guestbook().token({guestbook().cookie: value})) == run.owner
    (given,) = set_cookies(old("z" * 43))  # whoever has no runs loses none, and may have made it up
    assert "z" * 43 not in given
    store.close()


def test_where_it_cannot_be_known_no_cookie_is_given_and_the_page_is():
    def broken(_token):
        raise StoreError("the disk is full")

    open_guestbook(KEY, Limits(), broken)
    assert set_cookies(old()) == []


def test_having_sweeps_or_only_runs_in_the_bin_counts(tmp_path):
    store = Store(tmp_path)
    assert not people.has_runs(store, "ada")
    sweeps.create(store, {}, "ada", "mine")
    library.put_into_bin(store, store.create(small(), "bob", state="stopped").id, "bob")
    assert [people.has_runs(store, who) for who in ("ada", "bob", "eve")] == [True, True, False]
    store.close()


# --- newcomers


def test_a_class_gets_in_at_once_and_a_script_does_not_go_on(monkeypatch, caplog):
    caplog.set_level("INFO", "metalab.events")
    now = [1000.0]
    monkeypatch.setattr(visitors.time, "monotonic", lambda: now[0])
    open_guestbook(KEY, Limits(), lambda _token: False)
    cookies = {set_cookies(scope())[0] for _ in range(500)}
    assert len(cookies) == 500
    status, headers, body = answer_to(scope())
    assert (status, dict(headers)[b"retry-after"]) == (429, b"60")
    assert b"set-cookie" not in dict(headers)
    assert body.decode().startswith("500 new visitors came from your network within a minute, 500 are allowed here.")
    assert "METALAB_MAX_NEWCOMERS" in caplog.text, "whoever runs the server reads what to set"
    assert answer_to(scope(cookie=cookie(GOOD)))[0] == 200, "who was here before goes on"
    assert answer_to(scope() | {"client": ("10.0.0.8", 1)})[0] == 200, "others come in"
    now[0] += 60
    assert answer_to(scope())[0] == 200


def test_a_tab_without_a_cookie_counts_as_a_new_visitor():
    """Its session stands in for the cookie: without this each tab would be a visitor with shares of its own."""
    open_guestbook(KEY, Limits(newcomers=2), lambda _token: False)
    codes = []

    async def through(*_):
        codes.append(None)

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        codes.append(message["code"])

    async def attempt():
        guard = GuardMiddleware(through)
        for headers in ([], [], [], [(b"cookie", cookie(GOOD).encode())]):
            given = {"type": "websocket", "path": "/_stcore/stream", "headers": headers, "client": ("10.0.0.7", 1)}
            await guard(given, receive, send)

    asyncio.run(attempt())
    assert codes == [None, None, 1013, None]


def test_the_newer_internet_protocol_gives_a_household_one_address():
    book = Guestbook(KEY, Limits(newcomers=1))
    book.welcome("2001:db8:1:2::1")
    with pytest.raises(TooManyNewcomers):
        book.welcome("2001:db8:1:2:ffff::9")
    for other in ("2001:db8:1:3::1", "::ffff:10.0.0.1", "::ffff:10.0.0.2", "unknown"):
        book.welcome(other)


# --- the secret


def test_the_secret_is_made_once_for_all_servers_of_a_home_and_only_its_owner_may_read_it(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(read_key(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / visitors.KEY_FILE).stat().st_mode) == 0o600
    other = tmp_path / "other"
    other.mkdir()
    assert read_key(other) != found[0]


def test_a_damaged_secret_stops_the_start_and_is_not_printed(tmp_path):
    (tmp_path / visitors.KEY_FILE).write_bytes(b"hidden")
    with pytest.raises(KeyFileError, match=r"visitors\.key holds 6 bytes, expected 32") as caught:
        read_key(tmp_path)
    assert "hidden" not in str(caught.value)


def test_in_a_home_that_cannot_be_written_cookies_hold_for_this_server(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "file" / "home"))  # nobody can make it
    server._open_guestbook()
    first = guestbook()
    assert "visitors are known until the server ends only" in caplog.text
    server._open_guestbook()
    assert guestbook().token({first.cookie: first.signed(GOOD)}) is None


def test_a_secret_that_is_there_is_read_where_nothing_can_be_written(tmp_path, monkeypatch, caplog):
    def refused(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / visitors.KEY_FILE).write_bytes(KEY)
    monkeypatch.setenv("METALAB_HOME", str(tmp_path))
    monkeypatch.setattr(server.places.os, "access", lambda *_: False)
    monkeypatch.setattr(visitors, "FileLock", refused)
    server._open_guestbook()
    assert guestbook().cookie == Guestbook(KEY).cookie
    assert not caplog.text
