"""The class's page without a browser: closed to whoever is not in charge, and what those in charge do."""

import pytest
from small_runs import until

from metalab.store import Store
from metalab.training.config import parse_config
from metalab.ui import classroom, runs, teacher
from metalab.ui.identity import short_id

TOKEN = "a right horse"
ME = short_id("session", "test session id")
ENDLESS = {"family": "sinusoid", "algorithm": "maml", "outer_steps": 150_000, "evaluate_every": 10_000}


@pytest.fixture(autouse=True)
def desk(monkeypatch):
    """A server with a token, and nothing announced."""
    before, classroom._notice = teacher.desk(), ""
    yield teacher.open_desk(TOKEN)
    teacher._desk, classroom._notice = before, ""


def shown(app):
    return " ".join(each.value for each in [*app.markdown, *app.info, *app.caption, *app.error, *app.warning])


def entered(app, token):
    app.text_input[0].input(token)
    return app.button[0].click().run()


def test_who_is_not_in_charge_sees_the_field_for_the_token_and_no_command(open_page):
    app = open_page("classroom")
    assert "This page is for whoever is in charge of this server." in shown(app)
    assert [button.label for button in app.button] == ["Enter"]
    entered(app, "a wrong horse")
    assert app.error[0].value == "This is not the teacher's token."
    entered(app, TOKEN)
    assert "Nobody trains now." in shown(app)
    assert {"Stop all", "Empty the queue", "Leave", "Show"} <= {button.label for button in app.button}
    next(button for button in app.button if button.label == "Leave").click().run()
    assert "This page is for whoever" in shown(app)


def test_without_a_token_it_says_who_is_in_charge(open_page):
    teacher.open_desk(None)
    app = open_page("classroom")
    assert "only a browser on the server's own machine is in charge" in shown(app)
    assert not app.button


def test_everybodys_runs_are_shown_and_commanded_and_their_names_are_text(open_page, desk):
    from metalab.training.service import service

    app = open_page("classroom")
    serving = service()
    first = serving.start(parse_config(ENDLESS), "0123456789abcdef", "*bold* <b>[x](javascript:1)")
    second = serving.start(parse_config(ENDLESS), "fedcba9876543210")
    desk.show(TOKEN, ME, "here")
    app.run()
    assert r"\*bold\* \<b\>\[x\]\(javascript\:1\)" in shown(app)
    assert "2 people train or wait" in shown(app)
    assert list(app.dataframe[0].value["Person"]) == ["012345", "fedcba"]
    app.button(key=f"classroom.pause.{second}").click().run()
    assert serving.wait(second, 30).state == "paused"
    app.button(key=f"classroom.delete.{first}").click().run()
    until(lambda: serving.store.find(first) is None, "the bin")
    app.button(key=f"classroom.stop.{second}").click().run()
    assert serving.store.get(second).message == "Whoever is in charge of this server stopped it."


def test_a_page_that_was_opened_in_charge_commands_nothing_once_left(open_page, desk):
    from metalab.training.service import service

    app = open_page("classroom")
    desk.show(TOKEN, ME, "here")
    run = service().start(parse_config(ENDLESS), "0123456789abcdef")
    app.run()
    desk.leave(ME)
    app.button(key=f"classroom.stop.{run}").click().run()
    assert service().store.get(run).active
    service().stop(run, "0123456789abcdef")


@pytest.mark.parametrize("command", ["stop_all", "empty_queue", "announce", "command"])
def test_every_command_asks_again_who_is_in_charge(command, monkeypatch):
    monkeypatch.setattr(classroom, "in_charge", lambda: False)
    monkeypatch.setattr(classroom, "current_user", lambda: "eve")
    arguments = {"announce": ["hello"], "command": [type("Run", (), {"id": "abc"}), "stop"]}.get(command, [])
    with pytest.raises(runs.Problem, match="Only whoever is in charge of this server may do that"):
        getattr(classroom, command)(*arguments)
    assert classroom.notice() == ""


def test_what_is_announced_is_one_line_of_text(monkeypatch, open_page):
    monkeypatch.setattr(classroom, "in_charge", lambda: True)
    monkeypatch.setattr(classroom, "current_user", lambda: ME)
    open_page("home")  # a home for the service
    classroom.announce("five\nminutes \x1b[31m left " + "x" * 500)
    assert classroom.notice().startswith("five minutes  [31m left xx")
    assert len(classroom.notice()) == classroom.LONGEST_NOTICE


def test_home_says_who_one_is_what_is_allowed_and_takes_the_token(open_page):
    app = open_page("home")
    assert f"Here you are **{ME[:6]}**" in shown(app)
    assert "20 runs may train or wait at once. A run may take 200,000 outer steps. It may train for 2 hours." in shown(
        app
    )
    app.text_input[0].input(TOKEN)
    next(button for button in app.button if button.label == "Enter").click().run()
    assert "You are in charge of this server: no limits hold for you." in shown(app)


def test_home_says_that_no_token_is_set_where_others_reach_the_server(open_page):
    teacher.open_desk(None)
    app = open_page("home")
    assert "No teacher's token is set: nobody but who sits" in shown(app).replace("\\", "")


def test_limits_hold_for_visitors_and_not_for_whoever_is_in_charge(open_page, desk, tmp_path, monkeypatch):
    monkeypatch.setenv("METALAB_MAX_OUTER_STEPS", "1000")
    app = open_page("home")
    app.button(key="start-sine-waves").click().run()
    assert app.error[0].value.startswith(r"The run asks for 5,000 outer steps, at most 1,000 are allowed here")
    desk.show(TOKEN, ME, "here")
    app.button(key="start-sine-waves").click().run()
    store = Store(tmp_path / "home")
    assert [run.owner for run in store.runs()] == [ME]
    store.close()
