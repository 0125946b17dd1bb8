"""The front end's files out of memory: the same bytes, compressed once, and nothing else."""

import asyncio
import gzip

import pytest

from metalab.ui.front import FrontMiddleware, files, pack_first, packed


def asked(path, base_path="", method="GET", **headers):
    """Status, headers and body of the answer to one request; 418 where it was sent on."""
    sent = []

    async def elsewhere(scope, receive, send):
        await send({"type": "http.response.start", "status": 418, "headers": []})

    async def send(message):
        sent.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    asyncio.run(FrontMiddleware(elsewhere, base_path)(scope, None, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"] if len(sent) > 1 else b""


@pytest.fixture
def script():
    """The address of the smallest script."""
    return min((path for path in files() if path.endswith(".js")), key=lambda path: files()[path].stat().st_size)


def test_a_script_arrives_whole_compressed_and_may_be_kept(script):
    for _ in range(2):  # the second time it is there
        status, headers, body = asked(script, accept_encoding="br, gzip")
        assert (status, headers["content-encoding"]) == (200, "gzip")
        assert headers["content-type"].startswith("text/javascript")
        assert "immutable" in headers["cache-control"]
        assert int(headers["content-length"]) == len(body)
        assert gzip.decompress(body) == files()[script].read_bytes()


def test_below_a_base_path(script):
    assert asked(f"/lab{script}", "/lab", accept_encoding="gzip")[0] == 200


@pytest.mark.parametrize("path", ["/", "/static/js/../../index.html", "/static/js/none.js", "/static", "/train"])
def test_other_addresses_go_on(path):
    assert asked(path, accept_encoding="gzip")[0] == 418


def test_who_wants_it_in_another_way_is_sent_on(script):
    assert asked(script)[0] == 418
    assert asked(script, accept_encoding="gzip", range="bytes=0-9")[0] == 418
    assert asked(script, accept_encoding="gzip", method="POST")[0] == 418


def test_what_is_not_http_goes_on():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(FrontMiddleware(app)({"type": "websocket", "path": min(files())}, None, None))
    assert seen == ["websocket"]


def test_what_every_page_begins_with_is_compressed_beforehand():
    packed.cache_clear()
    pack_first()
    first = packed.cache_info().currsize
    assert first > 20
    name = next(path for path in files() if path.startswith("/static/js/index.") and len(path) < 30)
    assert gzip.decompress(packed(name)) == files()[name].read_bytes()
