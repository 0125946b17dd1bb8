"""What a link may say, and what a hostile one gets."""

import pytest

from metalab.ui import draft, links
from metalab.ui.links import Parameter, address, escape, flat, link_of, read_state, readable

SHOTS = Parameter("shots", 10, kind=int, low=1, high=100)
RATE = Parameter("rate", 0.01, kind=float, low=1e-4, high=2.0)
ORDER = Parameter("order", 2, kind=int, choices=(2, 1))
BENT = Parameter("bent", False, kind=bool)
WIDTHS = Parameter("widths", (40, 40), kind=tuple, most=3, low=1, high=1024)
RUNS = Parameter("runs", (), kind=tuple, item=str, pattern=r"[a-z0-9]{1,8}", most=2)
SPAN = Parameter("span", (0.1, 5.0), kind=tuple, low=0, high=10, **draft.RANGE)
SCHEMA = [SHOTS, RATE, ORDER, BENT, WIDTHS, RUNS, SPAN]
DEFAULTS = {parameter.name: parameter.default for parameter in SCHEMA}


def test_a_link_holds_what_differs_and_reads_back_the_same():
    values = {"shots": 5, "rate": 0.1 + 0.2, "order": 1, "bent": True, "widths": (8, 64), "runs": ("a1", "b2")}
    values["span"] = (0.25, 3.0)
    link = link_of(SCHEMA, values)
    assert link["shots"] == "5"
    assert link["widths"] == "8,64"
    assert read_state(SCHEMA, link) == (values, [])
    assert link_of(SCHEMA, DEFAULTS) == {}
    assert read_state(SCHEMA, {}) == (DEFAULTS, [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shots", "0"),
        ("shots", "101"),
        ("shots", "1e1"),
        ("shots", "1_0"),
        ("shots", "٣"),
        ("shots", "9" * 5000),
        ("rate", "nan"),
        ("rate", "inf"),
        ("rate", "1e999"),
        ("rate", ""),
        ("order", "3"),
        ("bent", "yes"),
        ("widths", "1,2,3,4"),
        ("widths", "0,5"),
        ("widths", "5,,5"),
        ("runs", "a1,b2,c3"),
        ("runs", "<script>"),
        ("runs", "../x"),
        ("span", "2,1"),
        ("span", "1"),
        ("span", "1,2,3"),
        ("span", ""),
        ("span", "1,nan"),
        ("span", "1,11"),
    ],
)
def test_a_wrong_value_is_named_and_the_default_used(name, text):
    values, warnings = read_state(SCHEMA, {name: text})
    assert values == DEFAULTS
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{name} = ")
    assert "expected" in warnings[0]
    assert len(warnings[0]) < 250


def test_the_warning_says_value_expectation_and_what_is_used():
    assert read_state([RATE], {"rate": "7"})[1] == [
        "rate = '7' in the link: expected a number from 0.0001 to 2; 0.01 is used."
    ]


def test_names_that_are_no_setting_are_reported_and_those_of_every_page_are_not():
    link = {"shotz": "3", "lang": "de", "embed": "true", "other": "1"}
    values, warnings = read_state([SHOTS], link, ignore=["other"])
    assert values == {"shots": 10}
    assert warnings == ["'shotz' in the link: no setting of that name exists here; it is left out."]


def test_a_run_reads_back_from_its_link_with_every_setting():
    start = draft.start("glyphs", "reptile")
    values = {**start.values, "seed": 7, "family.ways": 3, "algorithm.inner_lr": 0.0123, "outer_optimiser": "adam"}
    written = draft.Draft(start.names, values)
    link = written.link()
    assert link == {
        "family": "glyphs",
        "algorithm": "reptile",
        "seed": "7",
        "family.ways": "3",
        "algorithm.inner_lr": "0.0123",
        "outer_optimiser": "adam",
    }
    assert draft.from_link(link) == (written, [])
    assert written.config().algorithm.inner_lr == 0.0123


def test_a_link_may_choose_another_network_than_the_recommended_one():
    found, warnings = draft.from_link({"family": "glyphs", "model": "mlp", "model.widths": "64,64"})
    assert warnings == []
    assert found.config().model.widths == (64, 64)
    assert found.link() == {"family": "glyphs", "model": "mlp", "model.widths": "64,64"}


def test_the_start_of_every_combination_is_what_an_empty_config_would_take():
    for family in ("sinusoid", "glyphs", "omniglot"):
        for algorithm in ("maml", "reptile", "pretrained", "scratch"):
            start = draft.start(family, algorithm)
            assert start.config() == draft.parse_config({"family": family, "algorithm": algorithm})


def test_true_is_no_number_in_a_link():
    found, warnings = draft.from_link({"family.shots": "true", "outer_lr": "true"})
    assert found == draft.start("sinusoid", "maml")
    assert {warning.partition(":")[0] for warning in warnings} == {
        "outer_lr = 'true' in the link",
        "family.shots = 'true' in the link",
    }


def test_unknown_parts_in_a_link_fall_back_with_one_warning_each():
    found, warnings = draft.from_link({"family": "cats", "algorithm": "maml", "algorithm.tempo": "3"})
    assert found.names == {"family": "sinusoid", "algorithm": "maml", "model": "mlp"}
    assert [warning.split(" ")[0] for warning in warnings] == ["family", "'algorithm.tempo'"]


def test_text_from_outside_is_shown_as_it_is():
    assert escape("a*b_[x](y) <b> $1$ :red[c]\n# d") == (r"a\*b\_\[x\]\(y\) \<b\> \$1\$ \:red\[c\] \# d")


def test_addresses_are_encoded():
    assert address("train", {"runs": "a,b", "seed": "1&2"}).endswith("/train?runs=a,b&seed=1%262")
    assert address("", {}).endswith("/")


def test_numbers_for_the_eye():
    assert [readable(value) for value in (1e-5, 0.03, 2.0, 25, 5000, 1_000_000)] == [
        "0.00001",
        "0.03",
        "2",
        "25",
        "5,000",
        "1,000,000",
    ]


def test_nested_settings_have_dotted_names():
    assert dict(flat({"a": {"b": {"c": 1}, "d": [2, 3]}, "e": "f"})) == {"a.b.c": 1, "a.d": (2, 3), "e": "f"}


@pytest.mark.parametrize(
    ("least", "most", "told"), [(0, 3, "at most 3 entries"), (2, 5, "2 to 5 entries"), (2, 2, "expected 2 entries")]
)
def test_a_wrong_number_of_entries_is_told_with_how_many_there_may_be(least, most, told):
    many = Parameter("x", (0.0, 1.0), kind=tuple, item=float, least=least, most=most, low=-4, high=4)
    (warning,) = read_state([many], {"x": "1,2,3,4,5,6"})[1]
    assert f"{told}, each a number from -4 to 4" in warning


def test_a_text_that_is_too_long_is_told_the_limit():
    group = Parameter("group", "", pattern="[0-9a-f]*", longest=100, made_of="hexadecimal digits", automatic=True)
    assert read_state([group], {"group": "f" * 100}) == ({"group": "f" * 100}, [])
    values, warnings = read_state([group], {"group": "f" * 599})
    assert values == {"group": ""}
    assert "expected at most 100 hexadecimal digits; the default is used." in warnings[0]
    assert "expected at most 100 letters, digits, spaces and" in read_state([Parameter("a", "")], {"a": "<"})[1][0]


@pytest.fixture
def browser(monkeypatch):
    """The address that the browser tells of, and the session."""
    monkeypatch.setattr(links.st, "query_params", {})
    monkeypatch.setattr(links.st, "session_state", {})
    return links.st.query_params


def test_an_address_that_the_page_wrote_over_meanwhile_is_no_news(browser):
    browser["tasks"] = "100"
    assert links.is_news("speed")
    links.know("speed", browser)
    assert not links.is_news("speed")
    links.know("speed", {"tasks": "200", "lang": "de"})
    assert not links.is_news("speed"), "a slow browser still tells of the former one"
    browser.update(tasks="200", lang="fr")
    assert not links.is_news("speed"), "the language is not the page's own"
    browser["tasks"] = "400"
    assert links.is_news("speed")
    assert links.is_news("order"), "each page knows its own"
    browser.clear()
    assert not links.is_news("speed"), "nothing is asked"


def test_coming_back_to_a_page_its_older_links_can_be_opened_again(browser):
    links.come_to("speed")
    for tasks in ("100", "200"):
        links.know("speed", {"tasks": tasks})
    browser["tasks"] = "100"
    links.come_to("speed")
    assert not links.is_news("speed")
    links.come_to("")
    links.come_to("speed")
    assert links.is_news("speed")
    browser["tasks"] = "200"
    assert not links.is_news("speed"), "where the visitor left it"


def test_only_so_many_links_are_remembered(browser):
    for tasks in range(links.MOST_KNOWN + 5):
        links.know("speed", {"tasks": str(tasks)})
    assert len(links.st.session_state["speed.links"]) == links.MOST_KNOWN
    browser["tasks"] = "4"
    assert links.is_news("speed")
    browser["tasks"] = "5"
    assert not links.is_news("speed")
