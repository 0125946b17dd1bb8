"""Who is in charge of a server: whoever shows the teacher's token, or sits at the machine where none is set.

The token is METALAB_TEACHER_TOKEN, or `teacher_token` in Streamlit's secrets file. Who has shown it is remembered
here by the short id of their browser's cookie, which no script and no other site can read, until they leave, half a
day has passed or the server starts again. The token itself is kept as a digest only.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from metalab.log import tell

VARIABLE = "METALAB_TEACHER_TOKEN"
SECRET = "teacher_token"
SHORTEST, LONGEST = 8, 256
REMEMBERED_SECONDS = 12 * 3600.0
MINUTE = 60.0
WRONG_A_MINUTE = 5
"""From one address; then even the right token has to wait."""
ALL_WRONG_A_MINUTE = 60
"""From all addresses, so that many cannot guess faster than one."""
NONE_SET = (
    "No teacher's token is set: nobody but who sits at this machine can stop others' runs. "
    f"Set {VARIABLE} to a word of {SHORTEST} or more characters and start the server again."
)


class TokenError(RuntimeError):
    """The token that is set cannot be used; the message says where it came from and what was expected."""


class NotAdmitted(RuntimeError):
    """The token that was shown was not taken; the message is one sentence for whoever showed it."""


def read_token(environment: Mapping[str, str], secrets_files: Iterable[Path]) -> str | None:
    """The token that is set, the environment's first; None where there is none. Raises TokenError."""
    given = environment.get(VARIABLE, "").strip()
    if given:
        return _usable(given, VARIABLE)
    for path in secrets_files:
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8")).get(SECRET)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as problem:
            # Nothing of the file is said here: it holds secrets, and a log is read by others.
            raise TokenError(
                f"{path} cannot be read as TOML ({type(problem).__name__}): correct or remove it"
            ) from None
        if found is not None:
            return _usable(found, f"{SECRET} in {path}")
    return None


def _usable(token: object, source: str) -> str:
    if not isinstance(token, str) or not SHORTEST <= len(token.strip()) <= LONGEST:
        said = f"{len(token)} characters" if isinstance(token, str) else f"a {type(token).__name__}"
        raise TokenError(f"{source} holds {said}: expected {SHORTEST} to {LONGEST} characters")
    return token.strip()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Desk:
    """Takes tokens and remembers who is in charge. Thread-safe."""

    def __init__(self, token: str | None = None) -> None:
        self._expected = None if token is None else _digest(token)
        self._until: dict[str, float] = {}
        """When the server forgets who showed the token, by short id."""
        self._wrong: Counter[str] = Counter()
        self._minute = 0
        self._lock = threading.Lock()

    @property
    def guarded(self) -> bool:
        """Whether a token is set."""
        return self._expected is not None

    def in_charge(self, user: str, at_the_machine: bool) -> bool:
        """Whether `user` may act on everybody's runs."""
        if self._expected is None:
            return at_the_machine  # with a token that counts for nothing: behind a proxy all may seem to sit there
        with self._lock:
            return time.monotonic() < self._until.get(user, 0.0)

    def show(self, token: str, user: str, address: str) -> None:
        """Put `user`, who comes from `address`, in charge. Raises NotAdmitted, after too many wrong ones at once."""
        if self._expected is None:
            raise NotAdmitted("No teacher's token is set on this server.")
        with self._lock:
            now = time.monotonic()
            if int(now // MINUTE) != self._minute:
                self._minute = int(now // MINUTE)
                self._wrong.clear()
            if self._wrong[address] >= WRONG_A_MINUTE or self._wrong.total() >= ALL_WRONG_A_MINUTE:
                tell("refused", person=user, why="too many wrong teacher's tokens")
                raise NotAdmitted("Too many wrong tokens were tried. Wait a minute, then try again.")
            right = len(token) <= LONGEST and hmac.compare_digest(_digest(token.strip()), self._expected)
            tell("teacher", person=user, admitted=right)
            if not right:
                self._wrong[address] += 1
                raise NotAdmitted("This is not the teacher's token.")
            self._until = {each: until for each, until in self._until.items() if until > now}
            self._until[user] = now + REMEMBERED_SECONDS

    def leave(self, user: str) -> None:
        """Be in charge no longer."""
        with self._lock:
            self._until.pop(user, None)


_desk = Desk()


def desk() -> Desk:
    """This server's."""
    return _desk


def open_desk(token: str | None) -> Desk:
    """Begin anew with this token; nobody has shown it yet."""
    global _desk
    _desk = Desk(token)
    return _desk
