"""Who is who on a shared server, without accounts.

Every browser gets a cookie with a random token that this server signed (`visitors`). Nothing that is shown or stored
holds the token itself: a user is the first 16 hex digits of a SHA-256 digest of it, so a list of runs gives nobody
another's session.

Runs of the command line were started by no browser. They belong to whoever is in charge (`metalab.ui.teacher`).
"""

import asyncio
import hashlib
import ipaddress
import logging
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metalab.places import PlaceError
from metalab.store import COMMAND_LINE, StoreError
from metalab.ui.teacher import desk
from metalab.ui.visitors import MINUTE, TooManyNewcomers, guestbook

_ONE_YEAR = 365 * 24 * 3600
_LOG = logging.getLogger(__name__)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PROXIED = (
    *("forwarded", "via", "x-forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded"),
    *("true-client-ip", "client-ip", "cf-", "fly-client-ip", "fastly-client-ip", "x-envoy", "x-proxy", "proxy-"),
)
"""How headers begin of which a proxy adds one: behind it every visitor seems to come from its address."""


def short_id(kind: str, secret: str) -> str:
    """The public name of a secret: 16 hex digits from which the secret cannot be found.

    `kind` says what the secret is ("cookie", "session", "address"), so that equal texts of two kinds differ.
    """
    return hashlib.sha256(f"metalab {kind} {secret}".encode()).hexdigest()[:16]


def current_user() -> str:
    """The short id of the browser whose page is running now.

    Where there is no valid cookie (a browser that refuses cookies, a test), the Streamlit session stands in.
    Raises RuntimeError outside a page's run: a background thread must be told its user.
    """
    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        raise RuntimeError("current_user() was called outside a page's run. Pass the user to the thread instead.")
    token = guestbook().token(st.context.cookies)
    return short_id("session", context.session_id) if token is None else short_id("cookie", token)


def user_of(request: HTTPConnection) -> str:
    """The short id of the browser that sent an HTTP request; without a valid cookie, of its address."""
    token = guestbook().token(request.cookies)
    return short_id("address", address_of(request)) if token is None else short_id("cookie", token)


def address_of(request: HTTPConnection) -> str:
    """Where an HTTP request comes from."""
    return request.client.host if request.client else "unknown"


def current_owners() -> frozenset[str]:
    """The names under which the visitor of the page that is running owns runs. Raises as `current_user` does."""
    return _owners(current_user(), in_charge())


def acting_on(owner: str) -> str:
    """The name under which the visitor of the page that is running commands what belongs to `owner`.

    Where that is somebody else, the visitor's own, by which the command will be refused.
    """
    return owner if owner in current_owners() else current_user()


def owners_of(request: HTTPConnection) -> frozenset[str]:
    """The names under which the sender of an HTTP request owns runs."""
    user, host = user_of(request), request.client.host if request.client else ""
    return _owners(user, desk().in_charge(user, _at_the_machine(host, request.headers)))


def in_charge() -> bool:
    """Whether the visitor of the page that is running may act on everybody's runs. Raises as `current_user` does."""
    import streamlit as st

    # Streamlit gives no address for a loopback one, and neither where it knows none; then there are no headers either.
    here = _at_the_machine(st.context.ip_address or "localhost", st.context.headers)
    return desk().in_charge(current_user(), here)


def listens_beyond_loopback() -> bool:
    """Whether other machines can reach this server."""
    from streamlit import config

    address = config.get_option("server.address")
    return not (address and (_is_loopback(address) or address.startswith("unix://")))


def _owners(user: str, charge: bool) -> frozenset[str]:
    return frozenset({user, COMMAND_LINE} if charge else {user})


def _at_the_machine(host: str, headers: Mapping[str, str]) -> bool:
    """Whether a request that came from `host` comes from this machine itself, and from nobody behind a proxy."""
    proxied = any(name.lower().startswith(_PROXIED) for name in headers)
    return _is_loopback(host) and _to_loopback(headers) and not proxied


def _is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, also as a server that listens to both internet protocols writes it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in _LOOPBACK
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _to_loopback(headers: Mapping[str, str]) -> bool:
    """Whether the address in the browser's bar is this machine's own; another's may lead here, too."""
    try:
        asked = [urlsplit(f"//{headers.get('host', '')}").hostname]
        if "origin" in headers:
            asked.append(urlsplit(headers["origin"]).hostname)
    except ValueError:
        return False
    return all(name in _LOOPBACK for name in asked)


class IdentityMiddleware:
    """Gives each browser that opens a page without a cookie of ours one (pure ASGI, no buffering)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _opens_a_page(scope) or guestbook().token(HTTPConnection(scope).cookies) is not None:
            await self.app(scope, receive, send)
            return
        try:
            cookie = await _fresh_cookie(HTTPConnection(scope))
        except TooManyNewcomers as refusal:
            answer = PlainTextResponse(str(refusal), status_code=429, headers={"Retry-After": f"{MINUTE:.0f}"})
            await answer(scope, receive, send)
            return
        except (StoreError, PlaceError):
            _LOG.warning("A visitor of before got no signed cookie.", exc_info=True)
            await self.app(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie.encode())]}
            await send(message)

        await self.app(scope, receive, send_with_cookie)


async def _fresh_cookie(request: HTTPConnection) -> str:
    """A new visitor's cookie, or that of one who came before cookies were signed.

    Raises TooManyNewcomers; StoreError, PlaceError where it cannot be known whether somebody came before.
    """
    book = guestbook()
    book.welcome(address_of(request))
    token = await asyncio.to_thread(book.from_before, request.cookies) or secrets.token_urlsafe(32)
    secure = "; Secure" if request.scope["scheme"] == "https" else ""
    return f"{book.cookie}={book.signed(token)}; Path=/; Max-Age={_ONE_YEAR}; HttpOnly; SameSite=Lax{secure}"


def _opens_a_page(scope: Scope) -> bool:
    """Whether the request is for HTML: only those, so that parallel first requests cannot disagree."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    return b"text/html" in dict(scope["headers"]).get(b"accept", b"")
