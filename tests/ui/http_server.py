"""A real web server in a thread, for tests of routes: slow readers and dropped connections need real sockets."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from metalab.ui import routes
from metalab.ui.identity import IdentityMiddleware
from metalab.ui.stream import Hub


class Client:
    """Sends requests to one server and remembers its connections, so that all are closed at the end."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._open: dict[HTTPResponse, HTTPConnection] = {}

    def get(self, path: str, **headers: str) -> HTTPResponse:
        """The answer to a GET; header names are given with underscores."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        self._open[response] = connection
        return response

    def hang_up(self, response: HTTPResponse) -> None:
        """Drop the connection of an answer, as a closed tab does."""
        response.close()
        self._open.pop(response).close()

    def close(self) -> None:
        """Close every connection."""
        for response in list(self._open):
            self.hang_up(response)


@contextmanager
def serving(hub: Hub) -> Iterator[Client]:
    """Serve the hub's routes on a free port; a client of it is yielded."""
    app = Starlette(routes=routes.routes(hub), middleware=[Middleware(IdentityMiddleware)])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    client = Client(server.servers[0].sockets[0].getsockname()[1])
    try:
        yield client
    finally:
        client.close()
        hub.close()
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def read_event(response: HTTPResponse) -> dict[str, Any]:
    """The next server-sent event: its id, event name and parsed data. Comments and retry times are skipped."""
    event: dict[str, Any] = {"event": "message"}
    while True:
        line = response.readline().decode()
        if line == "":
            raise EOFError("the stream ended")
        if line == "\n":
            if "data" in event:
                return event
            continue
        name, _, value = line.rstrip("\n").partition(": ")
        if name in ("id", "event"):
            event[name] = value
        elif name == "data":
            event["data"] = json.loads(value)


def wait_for(condition: Any, seconds: float = 5.0) -> None:
    """Wait until `condition()` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
