"""Library without a browser: its list, its filters, what one does with a run, the bin, and the best start."""

from __future__ import annotations

import pytest
import torch

from metalab.store import News, Store, library
from metalab.tasks.glyphs import Glyphs
from metalab.tasks.sinusoid import Sinusoid
from metalab.training.config import parse_config
from metalab.training.events import Evaluated
from metalab.training.service import service
from metalab.ui import library_starts, own_task, runs
from metalab.ui.canvas.strokes import Drawings, empty_drawings


@pytest.fixture
def store(tmp_path, open_page, monkeypatch):
    """A store with three runs: two of mine, one of somebody else's."""
    monkeypatch.setattr(runs, "current_user", lambda: "ada")
    monkeypatch.setattr(runs, "current_owners", lambda: {"ada"})
    monkeypatch.setattr("metalab.ui.identity.current_user", lambda: "ada")
    monkeypatch.setattr("metalab.ui.identity.current_owners", lambda: {"ada"})
    monkeypatch.setattr("metalab.ui.library.current_user", lambda: "ada")
    monkeypatch.setattr("metalab.ui.library.current_owners", lambda: {"ada"})
    store = Store(tmp_path / "home")
    for name, owner, algorithm, loss in (
        ("one", "ada", "maml", 1.0),
        ("two", "eve", "reptile", 0.5),
        ("three", "ada", "anil", 2.0),
    ):
        run = store.create(parse_config({"algorithm": algorithm}), owner, name, state="finished")
        curves = {"loss": torch.tensor([[4.0, loss], [4.0, loss]])}
        store.append(run.id, News(evaluations=[Evaluated(10, curves, None)], status={"step": 10}))
    yield store
    store.close()


def ids(store):
    return {run.name: run.id for run in store.runs()}


def listed(page):
    return page.dataframe[0].value["Run"].tolist()


def text(page):
    return " ".join(each.value for each in [*page.markdown, *page.caption])


def press(page, key):
    page.button(key=key).click().run()
    assert not page.exception
    return page


def test_everything_is_listed_and_the_best_is_named(open_page, store):
    page = open_page("library")
    assert not page.exception
    assert listed(page) == ["three", "two", "one"]
    assert "On sine waves the best is **two**: loss 0.5 (±0, 95%) over 2 held-out tasks, from 4" in text(page)
    assert dict(page.query_params) == {}


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ({"q": "loss<=1"}, ["two", "one"]),
        ({"algorithm": "anil"}, ["three"]),
        ({"mine": "true"}, ["three", "one"]),
        ({"of": "glyphs"}, []),
        ({"starred": "true", "q": "two"}, ["two"]),
    ],
)
def test_a_link_filters(open_page, store, link, found):
    library.star(store, ids(store)["two"], "eve", True)
    page = open_page("library", **link)
    assert not page.exception
    assert (listed(page) if found else [each.value for each in page.info][:1]) == (
        found or ["No run fits. Ask for less, or start one on Train."]
    )
    assert dict(page.query_params) == link


def test_an_unknown_run_of_a_link_is_said_and_left_out(open_page, store):
    run_id = ids(store)["one"]
    page = open_page("library", who=f"zzzzzzzz,{run_id}")
    assert [each.value for each in page.warning] == [
        "Run zzzzzzzz of the link is not here \\(any more\\)\\: it is left out."
    ]
    assert page.query_params["who"] == run_id


def test_where_no_run_fits_the_way_to_the_deleted_ones_is_shown(open_page, store):
    page = open_page("library", q="three", who=ids(store)["three"])
    assert "your bin" not in text(page)
    press(page, "library.delete")
    assert "No run fits." in page.info[0].value
    assert "1 run that you deleted is in your bin: you can take it back." in text(page)
    press(page, "library.to_bin")
    assert dict(page.query_params) == {"q": "three", "view": "bin"}
    press(page, f"library.restore.{library.bin_of(store, {'ada'})[0].id}")
    assert "three" in ids(store)


def test_a_condition_on_what_nobody_has_is_said(open_page, store):
    page = open_page("library", q="inner_rate<1")
    assert "inner\\_rate" in page.warning[0].value
    assert len(listed(page)) == 3


def test_an_own_run_is_described_and_starred(open_page, store):
    run_id = ids(store)["one"]
    page = open_page("library", who=run_id)
    assert page.query_params["who"] == run_id
    press(page, "library.star")
    next(each for each in page.text_input if each.label == "Tags").set_value("good start")
    page.text_area[0].set_value("**bold** idea")
    next(each for each in page.button if each.label == "Save").click().run()
    assert not page.exception
    found = library.marks(store, [store.get(run_id)], {"ada"})[run_id]
    assert found == library.Marks(("good", "start"), "**bold** idea", 1, True)
    assert ":blue-badge[good] :blue-badge[start] \\*\\*bold\\*\\* idea" in text(page)
    next(each for each in page.text_input if each.label == "Tags").set_value("<b>")
    next(each for each in page.button if each.label == "Save").click().run()
    assert "expected up to 24 letters" in page.error[0].value


def test_somebody_elses_run_can_be_starred_and_nothing_else(open_page, store):
    run_id = ids(store)["two"]
    page = open_page("library", who=run_id)
    assert not page.text_area
    assert "library.delete" not in [each.key for each in page.button]
    press(page, "library.star")
    assert library.marks(store, [store.get(run_id)], {"ada"})[run_id].starred


def test_a_deleted_run_is_taken_back_out_of_the_bin(open_page, store):
    run_id = ids(store)["three"]
    page = press(open_page("library", who=run_id), "library.delete")
    assert listed(page) == ["two", "one"]
    page = press(open_page("library", view="bin"), f"library.restore.{run_id}")
    assert "Your bin is empty." in page.info[0].value
    assert "three" in ids(store)


def test_what_was_just_deleted_is_taken_back_in_place(open_page, store):
    run_id = ids(store)["three"]
    page = press(open_page("library", who=run_id), "library.delete")
    assert "**three** is in your bin." in text(page)
    page = press(page, "library.undo")
    assert sorted(listed(page)) == ["one", "three", "two"]
    assert "is in your bin" not in text(page)


def test_the_bin_is_emptied_after_a_question_and_nobody_elses(open_page, store):
    mine = ids(store)["three"]
    for run_id, owner in ((mine, "ada"), (ids(store)["two"], "eve")):
        library.put_into_bin(store, run_id, owner)
    page = open_page("library", view="bin")
    assert "of 2 GB that are allowed here, those in the bin included." in text(page)
    assert "1 run is removed for good, with its checkpoints." in text(page)
    press(page, "library.empty")
    assert (library.bin_of(store, {"ada"}), len(library.bin_of(store, {"eve"}))) == ([], 1)


def test_a_few_runs_stand_side_by_side(open_page, store):
    chosen = ids(store)
    page = open_page("library", who=f"{chosen['one']},{chosen['two']}")
    table = page.dataframe[1].value
    rows = dict(zip(table["What"], zip(table["one"], table["two"], strict=True), strict=True))
    assert rows["result after adaptation"] == ("1 ± 0", "0.5 ± 0")
    assert rows["Order"] == ("2", "–")
    assert "further settings are the same" in text(page)


@pytest.mark.parametrize(
    "link",
    [
        {},
        {"own": "true", "x": "-2,0,1", "y": "1.5,0.3,-1"},
        {"own": "true", "x": "0.3", "y": "-0.2", "family": "navigation", "steps": "2"},
        {"family": "glyphs", "steps": "2"},
    ],
)
def test_the_best_start_is_found_for_a_task_among_the_examples(open_page, link):
    page = open_page("library", view="start", **link)
    service()
    for _ in range(100):
        if page.dataframe:
            break
        page.run()
    assert not page.exception
    assert "Start from **" in text(page)
    after = page.dataframe[0].value["After"].tolist()
    assert len(after) >= (1 if link.get("family") == "navigation" else 3)
    assert after == sorted(after, reverse=link.get("family") in ("glyphs", "navigation"))
    assert {name: page.query_params[name] for name in link} == link


@pytest.mark.parametrize(
    ("points", "said"),
    [({"x": "1,b", "y": "0,1"}, "'1,b' in the link"), ({"x": "1e999,0", "y": "0,0"}, "'1e999,0' in the link")],
)
def test_points_that_are_none_or_too_far_away_are_said_in_words(open_page, points, said):
    page = open_page("library", view="start", own="true", **points)
    assert said in page.warning[0].value
    assert "place two or more points" in page.info[0].value
    assert not page.error
    assert not page.exception


def test_who_presses_for_the_best_start_while_it_is_ranked_anew_gets_it(open_page, monkeypatch):
    page = open_page("library", view="start", family="sinusoid", steps="1")
    while not page.dataframe:
        page.run()
    opened, ranking, waiting = [], library_starts.ranking, [None, None]
    monkeypatch.setattr(library_starts, "opening", lambda *given: opened.append(given[:2]))
    monkeypatch.setattr(library_starts, "ranking", lambda *given: waiting.pop() if waiting else ranking(*given))
    page.button(key="library.best").click().run()
    assert not opened
    page.run()
    page.run()
    assert [type(part) for part in opened[0]] == [str, int]
    page.run()
    assert len(opened) == 1


def test_who_makes_a_task_is_asked_for_it_and_then_the_starts_are_ranked(open_page, monkeypatch):
    page = open_page("library", view="start", family="glyphs", steps="2")
    next(toggle for toggle in page.toggle if toggle.label == "A task of my own").set_value(True).run()
    assert "once every pad has a drawing" in page.info[0].value
    assert next(box for box in page.number_input if box.label == "Task number").disabled
    asked = []

    def current(key, ways, shots, *, revision, begin):
        asked.append((key, ways, shots))
        strokes = [((0.1 * way, 0.1), (0.9, 0.2 * way), (0.5, 0.9)) for way in range(ways)]
        return Drawings(tuple(((stroke,),) * shots for stroke in strokes), ())

    monkeypatch.setattr("metalab.ui.own_task.current_drawings", current)
    for _ in range(100):
        page.run()
        if page.dataframe:
            break
    assert not page.exception
    assert "Start from **" in text(page)
    assert set(asked) == {("library.pads", 5, 2)}
    # Who is asked the very drawings that were learned from is right about them: whoever has learned anything.
    assert page.dataframe[0].value["After"].max() == 100


@pytest.mark.parametrize(
    ("state", "link"),
    [
        ({"own": False, "x": (1.0,), "y": (2.0,)}, {"seed": "7"}),
        ({"own": True, "x": (1.0, -0.25), "y": (2.0, 0.0)}, {"mode": "own", "x": "1,-0.25", "y": "2,0"}),
        ({"own": True, "x": (), "y": ()}, {"mode": "own"}),
        ({"own": False, "family": "glyphs"}, {"ways": "3", "seed": "7"}),
        ({"own": True, "family": "glyphs", "drawn": "DRAWN"}, {"ways": "3", "mode": "own", "shots": "2"}),
    ],
)
def test_the_best_opens_on_adapt_with_the_same_task(monkeypatch, state, link):
    opened, session = [], {}
    monkeypatch.setattr("streamlit.switch_page", lambda _page, query_params: opened.append(query_params))
    monkeypatch.setattr("streamlit.session_state", session)
    state = {"family": "sinusoid", "task": 7} | state
    family = Glyphs(ways=3) if state["family"] == "glyphs" else Sinusoid()
    library_starts.opening("abc", 500, state, family)
    assert opened == [{"family": state["family"], "who": "abc@500"} | link]
    assert (own_task.handed(), own_task.handed()) == (state.get("drawn"), None)


def test_what_was_drawn_on_the_library_stands_on_the_pads_of_adapt(open_page, store):
    strokes = ((0.1, 0.2), (0.9, 0.8))
    drawings = Drawings((((strokes,), ()),) * 3, ())
    page = open_page("adapt", family="glyphs", ways="3", mode="own", shots="2", who="scratch")
    assert page.session_state["adapt.state"]["drawn"] == empty_drawings(3, 2)
    revision = page.session_state["adapt.state"]["revision"]
    page.session_state["own_task.handed"] = drawings
    page.run()
    assert not page.exception
    assert page.session_state["adapt.state"]["drawn"] == drawings
    assert page.session_state["adapt.state"]["revision"] == revision + 1
    page.run()
    assert page.session_state["adapt.state"]["drawn"] == drawings


def test_every_control_has_help(open_page, store):
    for link in ({"who": ids(store)["one"]}, {"view": "start"}, {"view": "bin"}):
        page = open_page("library", **link)
        for kind in (
            "segmented_control",
            "selectbox",
            "text_input",
            "toggle",
            "button",
            "slider",
            "number_input",
            "text_area",
        ):
            assert all(widget.help for widget in getattr(page, kind)), (link, kind)
