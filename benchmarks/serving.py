"""A Streamlit server as a process of its own and the browser to look at it: for benchmarks and browser tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Chromium as root and without services of its own beside what is measured."""


@dataclass(frozen=True)
class Server:
    """A server that was started, perhaps not answering yet."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, path: str, ready: Callable[[bytes], bool] = lambda _body: True, seconds: float = 90) -> None:
        """Return once `path` is answered with a body that is `ready`. Raises RuntimeError, TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended; {self.log} says why")
            with contextlib.suppress(OSError), urlopen(self.url + path, timeout=2) as answer:
                if ready(answer.read()):
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{self.url}{path} was not ready within {seconds:g} s; see {self.log}")


@contextlib.contextmanager
def serving(
    script: Path, folder: Path, environment: dict[str, str], *, port: int | None = None, cwd: Path = ROOT
) -> Iterator[Server]:
    """Run `script` on `port` or a free one, its log in `folder`; it ends with the block.

    `environment` is added to this process's. Does not wait until the server answers.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless", "true"]
    command += ["--server.address", "127.0.0.1", "--server.port", str(port)]
    given = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=cwd, env=given, stdout=log, stderr=log)
        try:
            yield Server(port, process, folder / "server.log")
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
