"""Which cookies are ours: each is signed with a secret that stays in the home, so that nobody makes up a visitor.

A cookie is `token.signature`, the signature an HMAC-SHA256 of the token (RFC 2104). One that was not signed here counts
as none. Browsers send a host's cookies to all its ports: the name tells the home, so that the servers of two homes on
one machine do not overwrite each other's. New visitors are given to an address at a limited pace.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from metalab import places
from metalab.log import tell
from metalab.training.quotas import Limits
from metalab.ui.addresses import network_of

UNSIGNED = "metalab_user"
"""The cookie's name when cookies were not signed, and how the names of those of now begin."""
KEY_FILE, KEY_BYTES = "visitors.key", 32
MINUTE = 60.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # what secrets.token_urlsafe(32) makes


class KeyFileError(RuntimeError):
    """The home's secret cannot be used; the message says where it lies and what was expected."""


class TooManyNewcomers(Exception):
    """Too many new visitors came from one address; the text says how many and what to do."""


def read_key(home: Path) -> bytes:
    """The home's secret, made where there is none yet; one that is there is read in a home that cannot be written, too.

    Raises KeyFileError, PlaceError.
    """
    path = home / KEY_FILE
    try:
        if not path.exists():
            _make_key(path)
        key = path.read_bytes()  # whole: it was written atomically
    except OSError as problem:
        raise places.refused(path, "METALAB_HOME", problem) from problem
    if len(key) != KEY_BYTES:
        raise KeyFileError(
            f"{path} holds {len(key)} bytes, expected {KEY_BYTES}: put the one back that was there, or remove it, and "
            "every browser counts as a new visitor"
        )
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # two servers that start on one home share it
        if not path.exists():
            places.write_atomically(path, lambda file: file.write(secrets.token_bytes(KEY_BYTES)), sync=True)


class Guestbook:
    """Signs cookies, knows its own again, and counts newcomers. Thread-safe."""

    def __init__(
        self, key: bytes, limits: Limits | None = None, known: Callable[[str], bool] = lambda _token: False
    ) -> None:
        """`known(token)`: whether the visitor of a cookie from before cookies were signed has runs here."""
        self._key, self._limits, self.known = key, limits or Limits(), known
        self.cookie = f"{UNSIGNED}_{hashlib.sha256(b'metalab cookie name ' + key).hexdigest()[:8]}"
        """The name of this home's cookie."""
        self._newcomers: Counter[str] = Counter()
        self._minute = 0
        self._lock = threading.Lock()

    def signed(self, token: str) -> str:
        """The cookie that holds the token."""
        digest = hmac.digest(self._key, token.encode(), "sha256")
        return f"{token}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"

    def token(self, cookies: Mapping[str, str]) -> str | None:
        """The token of a browser's cookie; None where it has none that was signed here."""
        value: object = cookies.get(self.cookie)
        if not isinstance(value, str):
            return None
        token = value.partition(".")[0]
        if not valid_token(token):
            return None
        ours = hmac.compare_digest(value.encode("utf-8", "surrogatepass"), self.signed(token).encode())
        return token if ours else None

    def welcome(self, address: str) -> None:
        """Count one more new visitor from an address. Raises TooManyNewcomers."""
        network = network_of(address)
        with self._lock:
            if int(time.monotonic() // MINUTE) != self._minute:
                self._minute = int(time.monotonic() // MINUTE)
                self._newcomers.clear()
            refusal = self._limits.too_many_newcomers(self._newcomers[network])
            self._newcomers[network] += not refusal
        if refusal:
            tell("quota", what="a new visitor", address=network, why=refusal, set_by="METALAB_MAX_NEWCOMERS")
            raise TooManyNewcomers(refusal)

    def from_before(self, cookies: Mapping[str, str]) -> str | None:
        """The token of an unsigned cookie, if its visitor has runs here: nobody else can know it.

        Raises StoreError, PlaceError.
        """
        token = cookies.get(UNSIGNED, "")
        return token if valid_token(token) and self.known(token) else None


def valid_token(token: str) -> bool:
    """Whether it has the length and the alphabet of those that we give out."""
    return _TOKEN.fullmatch(token) is not None


_guestbook = Guestbook(secrets.token_bytes(KEY_BYTES))


def guestbook() -> Guestbook:
    """This server's; until it is opened, one whose cookies hold for this process only."""
    return _guestbook


def open_guestbook(key: bytes, limits: Limits, known: Callable[[str], bool]) -> Guestbook:
    """From now on cookies are signed with this secret."""
    global _guestbook
    _guestbook = Guestbook(key, limits, known)
    return _guestbook
