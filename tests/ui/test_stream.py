"""The live streams, over real sockets."""

import json
import time

import pytest
from fake_runs import FakeRun, FakeRuns
from http_server import read_event, serving, wait_for
from visiting import cookie

from metalab.store import COMMAND_LINE
from metalab.training.quotas import Limits
from metalab.ui import stream
from metalab.ui.identity import short_id
from metalab.ui.stream import Hub, join_cursors, split_cursors

ALICE = "a" * 43
BOB = "b" * 43


def test_a_stream_starts_with_the_history_and_goes_on_with_what_is_new():
    runs = FakeRuns(FakeRun("r1"))
    runs.advance("r1", 150)
    with serving(Hub(runs)) as client:
        answer = client.get("/metalab/runs/r1/events")
        assert answer.status == 200
        assert answer.getheader("content-type").startswith("text/event-stream")
        first = read_event(answer)
        assert first["data"]["full"] is True
        assert first["data"]["metrics"]["train/loss"]["step"] == list(range(1, 151))
        assert [evaluation["step"] for evaluation in first["data"]["evaluations"]] == [0, 100]
        assert len(first["data"]["probe"]["tasks"]) == 3
        assert first["id"] == first["data"]["cursor"]
        runs.advance("r1", 3)
        second = read_event(answer)["data"]
        assert second["full"] is False
        assert second["metrics"]["train/loss"]["step"] == [151, 152, 153]
        assert second["probe"] is None


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_stream_resumes_after_its_last_event(how):
    runs = FakeRuns(FakeRun("r1"))
    runs.advance("r1", 10)
    with serving(Hub(runs)) as client:
        last = read_event(client.get("/metalab/runs/r1/events"))["id"]
        runs.advance("r1", 5)
        if how == "header":
            answer = client.get("/metalab/runs/r1/events", Last_Event_ID=last)
        else:
            answer = client.get(f"/metalab/runs/r1/events?cursor={last}")
        data = read_event(answer)["data"]
    assert data["full"] is False
    assert data["metrics"]["train/loss"]["step"] == [11, 12, 13, 14, 15]


def test_one_stream_follows_several_runs_and_resumes_each():
    runs = FakeRuns(FakeRun("r1"), FakeRun("r2"))
    runs.advance("r1", 4)
    runs.advance("r2", 7)
    with serving(Hub(runs)) as client:
        answer = client.get("/metalab/runs/r1,r2/events")
        first, second = read_event(answer), read_event(answer)
        assert [first["data"]["run"]["id"], second["data"]["run"]["id"]] == ["r1", "r2"]
        runs.advance("r2", 1)
        data = read_event(client.get(f"/metalab/runs/r1,r2/events?cursor={second['id']}"))
        assert data["data"]["metrics"] == {}
        assert split_cursors(data["id"], 2)[0] == first["data"]["cursor"]


def test_viewers_share_one_reader_and_get_the_same_bytes():
    runs = FakeRuns(FakeRun("r1"))
    runs.advance("r1", 10)
    hub = Hub(runs)
    with serving(hub) as client:
        answers = [client.get("/metalab/runs/r1/events") for _ in range(20)]
        for answer in answers:
            read_event(answer)
        before = runs.reads
        runs.advance("r1", 5)
        assert len({json.dumps(read_event(answer)) for answer in answers}) == 1
        assert runs.reads - before <= 4  # not one for each of the twenty


def test_viewers_who_join_together_share_one_history_and_lack_nothing(monkeypatch):
    runs = FakeRuns(FakeRun("r1", owner=short_id("cookie", ALICE)))
    runs.advance("r1", 10)
    histories = []
    updates = runs.updates
    monkeypatch.setattr(runs, "updates", lambda run, cursor, owners: _counted(histories, updates, run, cursor, owners))
    monkeypatch.setattr(stream, "HISTORY_SECONDS", 60.0)
    monkeypatch.setattr(stream, "UPDATES_PER_SECOND", 0.01)
    with serving(Hub(runs)) as client:
        early = client.get("/metalab/runs/r1/events")
        assert read_event(early)["data"]["metrics"]["train/loss"]["step"] == list(range(1, 11))
        runs.advance("r1", 5)
        late = client.get("/metalab/runs/r1/events", Cookie=cookie(ALICE))
        history, since = read_event(late)["data"], read_event(late)["data"]
        assert history["metrics"]["train/loss"]["step"] + since["metrics"]["train/loss"]["step"] == list(range(1, 16))
        assert (history["full"], since["full"]) == (True, False)
        assert (history["run"]["mine"], history["run"]["step"]) == (True, 15)
        assert len(histories) == 1
        runs.reset("r1")
        after = read_event(client.get("/metalab/runs/r1/events"))["data"]
        assert (after["full"], after["run"]["step"], after["metrics"]) == (True, 0, {})


def _counted(histories, updates, run, cursor, owners):
    if cursor is None:
        histories.append(run)
    return updates(run, cursor, owners)


def test_each_viewer_is_told_what_is_its_own_and_nobody_is_told_of_another():
    owner = short_id("cookie", ALICE)
    runs = FakeRuns(FakeRun("r1", owner=owner))
    with serving(Hub(runs)) as client:
        alice = client.get("/metalab/runs/r1/events", Cookie=cookie(ALICE))
        bob = client.get("/metalab/runs/r1/events", Cookie=cookie(BOB))
        assert read_event(alice)["data"]["run"]["controllable"] is True
        assert read_event(bob)["data"]["run"]["controllable"] is False
        runs.advance("r1", 1)
        for answer in (alice, bob):
            status = read_event(answer)["data"]["run"]
            assert "mine" not in status
            assert "controllable" not in status


def test_the_command_lines_run_is_controlled_from_the_servers_own_machine_only():
    with serving(Hub(FakeRuns(FakeRun("r1", owner=COMMAND_LINE)))) as client:
        local = client.get("/metalab/runs/r1/events")
        proxied = client.get("/metalab/runs/r1/events", X_Forwarded_For="10.0.0.7")
        assert read_event(local)["data"]["run"]["controllable"] is True
        assert read_event(proxied)["data"]["run"]["controllable"] is False


def test_a_finished_run_ends_the_stream():
    runs = FakeRuns(FakeRun("r1", outer_steps=5))
    with serving(Hub(runs)) as client:
        answer = client.get("/metalab/runs/r1/events")
        read_event(answer)
        runs.advance("r1", 5)
        assert read_event(answer)["data"]["run"]["state"] == "finished"
        assert read_event(answer)["event"] == "end"
        with pytest.raises(EOFError):
            read_event(answer)
        again = client.get("/metalab/runs/r1/events")
        assert read_event(again)["data"]["run"]["step"] == 5
        assert read_event(again)["event"] == "end"


def test_a_deleted_run_ends_the_stream():
    runs = FakeRuns(FakeRun("r1"))
    with serving(Hub(runs)) as client:
        answer = client.get("/metalab/runs/r1/events")
        read_event(answer)
        runs.delete("r1")
        assert read_event(answer)["data"]["run"]["state"] == "deleted"
        assert read_event(answer)["event"] == "end"


def test_a_reset_run_sends_a_full_history_again():
    runs = FakeRuns(FakeRun("r1"))
    runs.advance("r1", 50)
    with serving(Hub(runs)) as client:
        answer = client.get("/metalab/runs/r1/events")
        read_event(answer)
        runs.reset("r1")
        data = read_event(answer)["data"]
        assert data["full"] is True
        assert data["run"]["step"] == 0


def test_updates_come_at_most_ten_times_a_second():
    runs = FakeRuns(FakeRun("r1"))
    with serving(Hub(runs)) as client:
        answer = client.get("/metalab/runs/r1/events")
        read_event(answer)
        started, messages, steps = time.monotonic(), 0, []
        while time.monotonic() - started < 1.0:
            runs.advance("r1", 1)
            time.sleep(0.005)
        runs.set("r1", state="stopped")
        while True:
            event = read_event(answer)
            if event["event"] == "end":
                break
            messages += 1
            steps += event["data"]["metrics"].get("train/loss", {"step": []})["step"]
    assert 2 <= messages <= 13
    assert steps == list(range(1, runs.runs["r1"].step + 1))


def test_a_viewer_that_falls_behind_gets_the_whole_history_and_misses_no_point(monkeypatch):
    monkeypatch.setattr(stream, "INBOX_MESSAGES", 2)
    monkeypatch.setattr(stream, "UPDATES_PER_SECOND", 200)
    runs = FakeRuns(FakeRun("r1", outer_steps=10**9))
    hub = Hub(runs)
    with serving(hub) as client:
        answer = client.get("/metalab/runs/r1/events")
        seen = read_event(answer)["data"]["metrics"].get("train/loss", {"step": []})["step"]
        viewer = next(iter(hub._viewers))
        for _ in range(400):  # nobody reads: the sockets fill up, then the inbox overflows
            runs.advance("r1", 3000, every=10**9)
            time.sleep(0.01)
            if viewer.behind:
                break
        assert viewer.behind
        assert len(viewer.inbox) <= 2
        runs.set("r1", state="stopped")
        fulls = 0
        while True:
            event = read_event(answer)
            if event["event"] == "end":
                break
            steps = event["data"]["metrics"].get("train/loss", {"step": []})["step"]
            if event["data"]["full"]:
                fulls += 1
                seen = []
            seen += [step for step in steps if not seen or step > seen[-1]]
    assert fulls >= 1
    assert seen == list(range(1, runs.runs["r1"].step + 1))


def test_a_quiet_stream_sends_heartbeats(monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    with serving(Hub(FakeRuns(FakeRun("r1", state="paused")))) as client:
        answer = client.get("/metalab/runs/r1/events")
        read_event(answer)
        assert answer.readline() == b": still here\n"


def test_closing_a_connection_frees_its_place_and_stops_the_reader():
    runs = FakeRuns(FakeRun("r1"))
    hub = Hub(runs)
    with serving(hub) as client:
        answer = client.get("/metalab/runs/r1/events")
        read_event(answer)
        assert hub.counts() == {"streams": 1, "runs_followed": 1}
        client.hang_up(answer)
        wait_for(lambda: hub.counts() == {"streams": 0, "runs_followed": 0})
        time.sleep(0.2)
        reads = runs.reads
        runs.advance("r1", 1)
        time.sleep(0.2)
        assert runs.reads == reads


def test_a_source_that_fails_is_asked_again(monkeypatch, caplog):
    runs = FakeRuns(FakeRun("r1"))
    with serving(Hub(runs)) as client:
        answer = client.get("/metalab/runs/r1/events")
        read_event(answer)
        working = runs.updates
        monkeypatch.setattr(runs, "updates", lambda *_: 1 / 0)
        runs.advance("r1", 1)
        wait_for(lambda: "Reading run r1 for its viewers failed" in caplog.text)
        monkeypatch.setattr(runs, "updates", working)
        assert read_event(answer)["data"]["run"]["step"] == 1


def test_numbers_that_json_lacks_arrive_as_null():
    runs = FakeRuns(FakeRun("r1"))
    runs.runs["r1"].log.append(("train/loss", (1, float("nan"))))
    runs.runs["r1"].log.append(("train/loss", (2, float("inf"))))
    with serving(Hub(runs)) as client:
        data = read_event(client.get("/metalab/runs/r1/events"))["data"]
    assert data["metrics"]["train/loss"]["value"] == [None, None]


def test_limits_per_user_and_in_total():
    runs = FakeRuns(FakeRun("r1"))
    hub = Hub(runs, Limits(streams=2, all_streams=3))
    with serving(hub) as client:
        alice = {"Cookie": cookie(ALICE)}
        opened = [client.get("/metalab/runs/r1/events", **alice) for _ in range(2)]
        refused = client.get("/metalab/runs/r1/events", **alice)
        assert refused.status == 429
        assert json.loads(refused.read())["error"].startswith("You already have 2 live views open.")
        opened.append(client.get("/metalab/runs/r1/events", Cookie=cookie(BOB)))
        refused = client.get("/metalab/runs/r1/events")
        assert refused.status == 429
        assert "3 live views" in json.loads(refused.read())["error"]
        client.hang_up(opened[0])
        wait_for(lambda: hub.counts()["streams"] == 2)
        assert client.get("/metalab/runs/r1/events", **alice).status == 200


@pytest.mark.parametrize("cursors", [[None], ["4:2"], ["a,b", None, "c d%"], [None, None]])
def test_cursors_survive_being_joined(cursors):
    assert split_cursors(join_cursors(cursors), len(cursors)) == cursors


def test_another_number_of_cursors_is_named():
    with pytest.raises(ValueError, match="the cursor 'a,b' has 2 parts, expected 3"):
        split_cursors("a,b", 3)
