"""What a page's head names: what exists, with all that it imports; everything else arrives as it was."""

import asyncio
import re

import pytest

from metalab.ui.front import files, named_by_streamlit
from metalab.ui.head import ELEMENTS, HeadMiddleware, elements
from metalab.ui.live import plotly_address

PAGE = b"<html><head><title>x</title></head><body></head></body></html>"


def answered(
    path="/speed", body=PAGE, parts=1, base_path="", accept="text/html,*/*", status=200, method="GET", **headers
):
    """What reaches the browser of an answer in `parts`, and the request's headers as the app saw them."""
    sent, seen = [], {}
    named = {"content-type": "text/html; charset=utf-8", "content-length": str(len(body)), "etag": "x"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }

    async def app(scope, receive, send):
        seen.update({key.decode(): value.decode() for key, value in scope["headers"]})
        raw = [(key.encode(), value.encode()) for key, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        size = -(-len(body) // parts)
        for i in range(parts):
            part = body[i * size : (i + 1) * size]
            await send({"type": "http.response.body", "body": part, "more_body": i < parts - 1})

    async def send(message):
        sent.append(message)

    asked = [(b"accept", accept.encode()), (b"accept-encoding", b"gzip"), (b"cookie", b"c=1")]
    scope = {"type": "http", "method": method, "path": path, "headers": asked}
    asyncio.run(HeadMiddleware(app, base_path)(scope, None, send))
    found = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return found, b"".join(message["body"] for message in sent[1:]), seen


@pytest.mark.parametrize("parts", [1, 3])
def test_a_page_names_the_elements_scripts_once_at_the_end_of_its_head(parts):
    headers, body, seen = answered(parts=parts)
    assert int(headers["content-length"]) == len(body)
    assert "etag" not in headers  # it is another page's
    assert "accept-encoding" not in seen
    assert seen["cookie"] == "c=1"
    before, after = PAGE.split(b"</head>", 1)
    assert body.startswith(before)
    assert body.endswith(b"</head>" + after)
    named = re.findall(r'<link rel="modulepreload" crossorigin href="\.(/[^"]+)">', body.decode())
    assert sorted(named) == sorted(elements())


@pytest.mark.parametrize(("path", "base_path", "chart"), [
    ("/speed", "", True), ("/speed/", "", True), ("/lab/theta", "/lab", True), ("/lab", "", True),
    ("/", "", False), ("/library", "", False), ("/speedy", "", False), ("/lab/", "/lab", False),
])  # fmt: skip
def test_pages_that_begin_with_a_chart_begin_with_its_library(path, base_path, chart):
    assert (plotly_address().encode() in answered(path, base_path=base_path)[1]) == chart


@pytest.mark.parametrize("changed", [
    {"content_type": "application/json"}, {"content_encoding": "br"}, {"status": 404},
    {"content_length": "0"}, {"content_length": str(2 << 20)},
])  # fmt: skip
def test_what_is_no_plain_page_arrives_as_it_was(changed):
    headers, body, _ = answered(parts=2, **changed)
    assert body == PAGE
    assert headers["etag"] == "x"


@pytest.mark.parametrize("base_path", ["", "/lab"])
def test_a_page_says_where_its_server_is(base_path):
    body = answered(f"{base_path}/speed", base_path=base_path)[1].decode()
    script = re.search(r"<script>(.*?)</script>", body, re.DOTALL)[1]
    assert script.endswith(f'(...["{base_path}/", "{plotly_address()}"])')
    assert body.index(script) < body.index("modulepreload")


def test_requests_that_are_not_for_a_page_pass_as_they_are():
    assert answered(method="HEAD")[0]["etag"] == "x"
    assert answered(accept="*/*")[1:] == (PAGE, {"accept": "*/*", "accept-encoding": "gzip", "cookie": "c=1"})


def test_every_named_script_is_there_and_so_is_all_that_it_imports():
    here = {*elements(), *named_by_streamlit()}
    assert here <= set(files())
    assert not set(elements()) & set(named_by_streamlit())
    folder = elements()[0].rpartition("/")[0]
    for path in elements():
        text = files()[path].read_text(encoding="utf-8")
        for name in re.findall(r'\bfrom"\./([^"]+)"|\bimport"\./([^"]+)"', text):
            assert f"{folder}/{name[0] or name[1]}" in here, path
    for name in ELEMENTS:  # Streamlit renamed it otherwise
        assert [path for path in here if path.rpartition("/")[2].startswith(f"{name}.")], name
