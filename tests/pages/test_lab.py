"""The Lab page without a browser: what it says at once, what its controls do, what its link carries."""

import csv
import json
import re

import pytest

from metalab.ui import lab


def whole_text(page):
    return "\n".join(str(part.value) for part in [*page.markdown, *page.caption, *page.error, *page.warning])


def state_of(page):
    return page.session_state["lab.state"]


def table(page):
    """Algorithm -> (formula, engine, largest difference), as they stand in the table."""
    text = next(part.value for part in page.markdown if part.value.startswith("| Algorithm"))
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()[2:]]
    return {name: tuple(cells) for name, *cells in rows}


def places(page):
    return [
        tuple(float(part) for part in re.findall(r"-?[\d.]+", row[1].replace("−", "-"))) for row in table(page).values()
    ]


def control(page, kind, label):
    return next(widget for widget in getattr(page, kind) if widget.label == label)


def number_of(text):
    """1.2e-5 of 1.2·10⁻⁵."""
    return float(text.replace("·10", "e").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))


def test_it_opens_with_five_different_fixed_points_equal_to_their_formulas(open_page):
    page = open_page("lab")
    assert page.title[0].value == "What exactly do these algorithms optimise?"
    rows = table(page)
    assert list(rows) == ["Joint training", "MAML", "FOMAML", "Reptile", "iMAML"]
    for formula, engine, difference in rows.values():
        assert formula == engine
        assert number_of(difference) < 1e-6
    assert len(set(places(page))) == 5
    assert "The inner loops converge" in whole_text(page)
    assert not page.warning
    assert not page.error
    assert page.query_params == {}


def test_a_rate_beyond_the_limit_is_said_in_words(open_page):
    page = open_page("lab", inner_lr="0.8")
    (said,) = page.error
    assert "**diverges** on task 1" in said.value
    assert "1.4 times as far" in said.value
    assert "0.667" in said.value
    below = open_page("lab", inner_lr="0.66")
    assert not below.error


def test_equal_curvatures_make_all_agree_and_reset_takes_it_back(open_page):
    page = open_page("lab")
    before = places(page)
    page.button(key="lab.alike").click().run()
    assert not page.exception
    mean = [sum(bowl.x for bowl in state_of(page)["bowls"]) / 3, sum(bowl.y for bowl in state_of(page)["bowls"]) / 3]
    for place in places(page):
        assert place == pytest.approx(mean, abs=1e-4)
    assert page.query_params["first"] == "3,3,3"
    page.button(key="lab.reset").click().run()
    assert places(page) == before
    assert page.query_params == {}


@pytest.mark.parametrize("count", [2, 5])
def test_tasks_come_and_go(open_page, count):
    page = open_page("lab")
    control(page, "segmented_control", "Tasks").set_value(count).run()
    assert not page.exception
    assert len(state_of(page)["bowls"]) == count
    assert len(page.query_params["x"].split(",")) == count
    page.run()
    assert control(page, "segmented_control", "Tasks").value == count


def test_a_link_carries_everything(open_page):
    link = {
        "x": "1,-2",
        "y": "0.5,3",
        "first": "0.5,4",
        "second": "1,1",
        "turn": "10,170",
        "theta": "2,-1",
        "inner_lr": "0.07",
        "inner_steps": "9",
        "proximal": "12",
        "outer_lr": "0.2",
        "algorithm": "reptile",
        "inner": "true",
    }
    page = open_page("lab", **link)
    assert dict(page.query_params) == link
    assert not page.warning
    state = state_of(page)
    assert state["bowls"][1].steepest == 4
    assert (state["theta"], state["inner_steps"], state["proximal"]) == ((2.0, -1.0), 9, 12.0)
    assert control(page, "radio", "Arrows and thick path").value == "reptile"
    assert control(page, "toggle", "Inner loops from θ").value is True


def test_the_longest_link_is_read_again(open_page):
    """Five tasks with all the digits that a drag leaves."""
    link = {name: ",".join(["-3.123"] * 5) for name in ("x", "y")}
    link |= {name: ",".join(["2.345"] * 5) for name in ("first", "second")} | {"turn": ",".join(["123.4"] * 5)}
    page = open_page("lab", **link)
    assert not page.warning
    assert len(state_of(page)["bowls"]) == 5


@pytest.mark.parametrize(
    "link", [{"x": "1"}, {"x": "1,2,3,4,5,6"}, {"x": "9,1,1"}, {"first": "0,1,1"}, {"inner_lr": "nan"}, {"k": "3"}]
)
def test_a_wrong_link_is_said_and_the_page_still_works(open_page, link):
    page = open_page("lab", **link)
    (warning,) = page.warning
    assert "in the link" in warning.value
    assert len(table(page)) == 5


def test_columns_of_unlike_length_are_said(open_page):
    page = open_page("lab", x="1,2")
    assert "differ in length" in page.warning[0].value
    assert len(state_of(page)["bowls"]) == 2


def test_who_has_no_fixed_point_and_whose_outer_loop_runs_away_is_said(open_page):
    page = open_page("lab", first="2,2,2", second="2,2,2", inner_lr="0.5", inner_steps="1", outer_lr="2")
    text = whole_text(page)
    assert "No fixed point can be told in 64-bit numbers for MAML, FOMAML" in text
    assert "the outer loops of Joint training, Reptile run away" in text
    assert table(page)["MAML"] == ("–", "–", "–")


def test_every_control_has_help(open_page):
    page = open_page("lab")
    for kind in ("segmented_control", "radio", "toggle", "button"):
        widgets = getattr(page, kind)
        assert len(widgets) > 0
        assert all(widget.help for widget in widgets), kind


def test_the_fixed_points_can_be_taken_home_with_all_their_digits(open_page):
    page = open_page("lab", first="2,2,2", second="2,2,2", inner_lr="0.5", inner_steps="1")
    settings, points = lab.files(state_of(page))
    assert json.loads(settings.text)["first"] == [2, 2, 2]
    header, *rows = csv.reader(points.text.splitlines())
    assert header == ["algorithm", "formula_theta_1", "formula_theta_2", "engine_theta_1", "engine_theta_2"]
    told = {row[0]: row[1:] for row in rows}
    assert told["maml"] == [""] * 4
    assert float(told["joint"][0]) == pytest.approx((-2.2 + 2.3 + 0.6) / 3, abs=1e-12)
    assert float(told["joint"][2]) == pytest.approx(float(told["joint"][0]), abs=1e-12)
