"""What the HTTP routes refuse, and the files that they serve."""

import gzip
import json
import threading

import pytest
from fake_runs import FakeRun, FakeRuns
from http_server import serving

from metalab.takehome.charts import CARTESIAN, plotly_folder
from metalab.ui import health, routes
from metalab.ui.stream import Hub


@pytest.fixture(scope="module")
def client():
    runs = FakeRuns(FakeRun("r1"))
    runs.advance("r1", 2)
    with serving(Hub(runs)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/metalab/runs/nope/events", 404, "There is no run 'nope'. It may have been deleted."),
        ("/metalab/runs/r1,nope/events", 404, "There is no run 'nope'"),
        ("/metalab/runs/nope/metrics.csv", 404, "There is no run 'nope'"),
        ("/metalab/runs/..%2e%27x/events", 404, "is not a run's id"),
        (f"/metalab/runs/{'x' * 65}/events", 404, "is not a run's id"),
        ("/metalab/runs/r1,r1/events", 400, "names a run twice"),
        ("/metalab/runs/1,2,3,4,5,6,7/events", 400, "names 7 runs, expected 1 to 6"),
        ("/metalab/runs/r1/events?cursor=a,b", 400, "the cursor 'a,b' has 2 parts, expected 1"),
        (f"/metalab/runs/r1/events?cursor={'x' * 2000}", 400, "2000 characters, at most 1024"),
    ],
)
def test_bad_addresses_are_explained_as_json(client, path, status, message):
    answer = client.get(path)
    assert answer.status == status
    assert message in json.loads(answer.read())["error"]


@pytest.mark.parametrize("path", ["/metalab/runs/r1/events", "/metalab/runs/r1/metrics.csv"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
def test_other_origins_are_refused(client, path, headers):
    answer = client.get(path, **headers)
    assert answer.status == 403
    assert answer.getheader("access-control-allow-origin") is None


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_pages_are_served_without_a_cors_header(client, site):
    answer = client.get("/metalab/runs/r1/metrics.csv", Sec_Fetch_Site=site)
    assert answer.status == 200
    assert answer.getheader("access-control-allow-origin") is None
    assert client.get("/metalab/runs/r1/metrics.csv", Origin=f"http://127.0.0.1:{client.port}").status == 200


def test_metrics_download_as_csv(client):
    answer = client.get("/metalab/runs/r1/metrics.csv")
    assert answer.getheader("content-type") == "text/csv; charset=utf-8"
    assert answer.getheader("content-disposition") == 'attachment; filename="metalab-r1.csv"'
    assert answer.read().decode().splitlines()[0] == "metric,outer_step,value"


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/metalab/plotly-cartesian.js", CARTESIAN),
        ("/metalab/plotly.js", plotly_folder() / "package_data" / "plotly.min.js"),
    ],
)
def test_plotly_comes_from_this_server_packed_and_cached(client, address, file):
    plain = file.read_bytes()
    packed = client.get(address, Accept_Encoding="gzip, br")
    assert packed.getheader("content-encoding") == "gzip"
    assert packed.getheader("content-type").startswith("text/javascript")
    assert "immutable" in packed.getheader("cache-control")
    body = packed.read()
    assert len(body) < len(plain) / 2
    assert gzip.decompress(body) == plain
    assert client.get(address).read() == plain
    again = client.get(address, If_None_Match=packed.getheader("etag"))
    assert again.status == 304
    assert again.read() == b""


def test_health_says_how_the_server_does(client):
    answer = client.get("/metalab/health")
    assert answer.status == 200
    found = json.loads(answer.read())
    assert found.pop("uptime_seconds") >= 0
    assert found.pop("threads") >= 2
    assert 10e6 < found.pop("memory_bytes") < 100e9
    assert found.pop("version") == "0.1.0"
    assert found == {
        **{"status": "ok", "service": True, "streams": 0, "runs_followed": 0},
        **{"running": 1, "waiting": 2, "workers": 3, "silent_seconds": 0.5},
    }


def test_health_is_503_where_the_service_is_dead_or_never_answers(monkeypatch):
    runs, gate = FakeRuns(), threading.Event()
    runs.alive = False
    with serving(Hub(runs)) as client:
        answer = client.get("/metalab/health")
        assert answer.status == 503
        found = json.loads(answer.read())
        assert (found["status"], found["service"], found["waiting"]) == ("dead", True, 2)
        monkeypatch.setattr(health, "ANSWER_SECONDS", 0.05)
        monkeypatch.setattr(runs, "vitals", lambda: gate.wait(10))
        answer = client.get("/metalab/health")
        gate.set()
        assert answer.status == 503
        assert json.loads(answer.read())["status"] == "dead"


def test_without_a_service_streams_answer_503_and_health_says_so():
    with serving(Hub()) as client:
        answer = client.get("/metalab/health")
        assert answer.status == 503
        found = json.loads(answer.read())
        assert (found["status"], found["service"]) == ("starting", False)
        answer = client.get("/metalab/runs/r1/events")
        assert answer.status == 503
        assert "still starting" in json.loads(answer.read())["error"]


def test_routes_follow_the_base_path():
    assert all(route.path.startswith("/lab/metalab/") for route in routes.routes(Hub(), "/lab"))
