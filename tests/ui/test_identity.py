"""Cookies and the short ids made from them."""

import asyncio
import re

import pytest
from starlette.requests import Request
from streamlit.testing.v1 import AppTest
from visiting import cookie as signed

from metalab.store import COMMAND_LINE
from metalab.ui.identity import IdentityMiddleware, current_user, owners_of, short_id, user_of
from metalab.ui.visitors import guestbook

GOOD = "Az09-_" + "x" * 37


def scope(accept="text/html,*/*", cookie=None, method="GET", scheme="http", kind="http"):
    headers = [(b"accept", accept.encode())]
    if cookie is not None:
        headers.append((b"cookie", cookie.encode()))
    return {
        "type": kind,
        "method": method,
        "scheme": scheme,
        "path": "/",
        "query_string": b"",
        "headers": headers,
        "client": ("10.0.0.7", 1),
    }


def answer_to(scope):
    """Status, headers and body of the answer to a request."""
    sent = []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-kept", b"1")]})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    asyncio.run(IdentityMiddleware(app)(scope, None, send))
    return sent[0]["status"], sent[0]["headers"], sent[1]["body"]


def set_cookies(scope):
    """The Set-Cookie headers of the answer to a request for a page."""
    status, headers, _ = answer_to(scope)
    assert status == 200
    assert (b"x-kept", b"1") in headers
    return [value.decode() for name, value in headers if name == b"set-cookie"]


def test_a_new_browser_gets_a_cookie_that_scripts_and_other_sites_cannot_use():
    (cookie,) = set_cookies(scope())
    name = guestbook().cookie
    value = re.fullmatch(rf"{name}=([^;]+); Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax", cookie).group(1)
    assert guestbook().token({name: value})
    assert set_cookies(scope()) != [cookie]


def test_over_https_the_cookie_is_secure():
    assert set_cookies(scope(scheme="https"))[0].endswith("; Secure")


@pytest.mark.parametrize("before", ["", "other=1; ", "broken; ;=; "])
def test_a_known_browser_keeps_its_cookie(before):
    assert set_cookies(scope(cookie=before + signed(GOOD))) == []


@pytest.mark.parametrize("value", ["", "short", "x" * 44, "x" * 42 + "é", "<script>" + "x" * 35])
def test_an_invalid_cookie_is_replaced(value):
    assert len(set_cookies(scope(cookie=f"{guestbook().cookie}={value}"))) == 1


@pytest.mark.parametrize("other", [{"accept": "*/*"}, {"method": "POST"}, {"accept": "text/event-stream"}])
def test_only_pages_give_cookies(other):
    assert set_cookies(scope(**other)) == []


def test_users_are_known_by_a_digest_never_by_their_cookie():
    user = user_of(Request(scope(cookie=signed(GOOD))))
    assert re.fullmatch(r"[0-9a-f]{16}", user)
    assert user == short_id("cookie", GOOD)
    assert user not in GOOD
    assert user != short_id("session", GOOD)


def test_without_a_valid_cookie_the_address_stands_in():
    assert user_of(Request(scope())) == short_id("address", "10.0.0.7")
    assert user_of(Request(scope(cookie=f"{guestbook().cookie}=forged"))) == short_id("address", "10.0.0.7")


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1:8501", "[::1]:8501", "localhost"])
def test_the_command_lines_runs_belong_to_whoever_sits_at_the_server(host):
    here = scope(cookie=signed(GOOD)) | {"client": ("127.0.0.1", 9)}
    here["headers"].append((b"host", host.encode()))
    assert owners_of(Request(here)) == {short_id("cookie", GOOD), COMMAND_LINE}


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("10.0.0.7", {"host": "localhost:8501"}),
        ("127.0.0.1", {"host": "lab.example:8501"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {"host": "[::1"}),
        ("127.0.0.1", {"host": "localhost:8501", "origin": "https://lab.example"}),
        ("127.0.0.1", {"host": "localhost:8501", "x-forwarded-for": "10.0.0.7"}),
        ("127.0.0.1", {"host": "localhost:8501", "Forwarded": "for=10.0.0.7"}),
    ],
)
def test_others_and_whoever_comes_through_a_proxy_own_only_what_their_browser_started(client, headers):
    there = scope(cookie=signed(GOOD)) | {"client": (client, 9)}
    there["headers"] += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    assert owners_of(Request(there)) == {short_id("cookie", GOOD)}


def test_a_page_without_cookies_is_known_by_its_session():
    def page():
        import streamlit as st

        from metalab.ui.identity import current_user

        st.text(current_user())

    assert AppTest.from_function(page).run().text[0].value == short_id("session", "test session id")


def test_current_user_outside_a_page_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"outside a page's run\. Pass the user"):
        current_user()
