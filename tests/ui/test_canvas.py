"""The Python side of the canvases: what a browser sends is checked, and strokes become the network's input."""

import base64
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from metalab.ui.canvas import bridge, characters, points
from metalab.ui.canvas.strokes import (
    OMNIGLOT_EXTENT,
    OMNIGLOT_PEN,
    Drawings,
    empty_drawings,
    fitted,
    parse_drawings,
    rasterise,
)

LINE = [[0.1, 0.2], [0.9, 0.8]]
X_RANGE, Y_RANGE = (-5.0, 5.0), (-6.0, 6.0)
NONSENSE = [
    42,
    "points",
    {"a": 1},
    [None],
    [[1]],
    [[1, 2, 3]],
    [["1", "2"]],
    [[True, False]],
    [[math.nan, 0.0]],
    [[0.0, math.inf]],
    [[[[[]]]]],
    [{}],
]


class TestPoints:
    def test_good_points_come_back_unchanged(self):
        assert points.parse_points([[1, 2.5], [-5.0, 6.0]], X_RANGE, Y_RANGE, 50) == ([(1, 2.5), (-5, 6)], "")

    def test_nothing_placed_yet(self):
        assert points.parse_points(None, X_RANGE, Y_RANGE, 50) == ([], "")

    @pytest.mark.parametrize("value", NONSENSE)
    def test_nonsense_is_left_out_with_a_reason(self, value):
        kept, problem = points.parse_points(value, X_RANGE, Y_RANGE, 50)
        assert kept == []
        assert problem.endswith(".")

    def test_a_good_point_beside_nonsense_is_kept(self):
        kept, problem = points.parse_points([[1.0, 1.0], "x"], X_RANGE, Y_RANGE, 50)
        assert kept == [(1.0, 1.0)]
        assert problem == "1 entries were left out: not pairs of finite numbers."

    def test_points_outside_are_moved_to_the_edge(self):
        kept, problem = points.parse_points([[99, -99], [10**400, 0]], X_RANGE, Y_RANGE, 50)
        assert kept == [(5.0, -6.0)]
        assert "1 points were moved to the edge" in problem
        assert "1 entries were left out" in problem

    def test_a_million_points_cost_as_little_as_fifty(self):
        many = [[0.0, 0.0]] * 1_000_000
        started = time.perf_counter()
        kept, problem = points.parse_points(many, X_RANGE, Y_RANGE, 50)
        assert time.perf_counter() - started < 0.05
        assert len(kept) == 50
        assert problem == "Only the first 50 points were taken."

    def test_a_value_of_an_older_revision_counts_as_absent(self, monkeypatch):
        sent = {"revision": 3, "seq": 7, "points": [[1.0, 2.0]]}
        monkeypatch.setattr(bridge.st, "session_state", {"plot": {"points": sent}})
        assert points.current_points("plot", [(0, 0)], revision=3) == [(1.0, 2.0)]
        assert points.current_points("plot", [(0, 0)], revision=4) == [(0.0, 0.0)]
        assert points.current_points("another", [(0, 0)], revision=3) == [(0.0, 0.0)]

    @pytest.mark.parametrize("seq", [None, "7", -1, 1.5, True, 2**60])
    def test_only_a_plausible_sequence_number_is_echoed(self, seq):
        assert bridge.sequence_number({"seq": seq}) == 0
        assert bridge.sequence_number({"seq": 7}) == 7

    def test_a_gap_in_a_curve_is_null_in_json(self):
        (curve,) = points._checked_curves([{"y": np.array([0.123456, np.nan, 1e30])}])
        assert curve["y"] == [0.1235, None, 1e6]

    @pytest.mark.parametrize(
        ("curve", "expected"),
        [
            ({"y": [1.0]}, r"curve 0: y has shape \(1,\); expected 2 to 2000 numbers"),
            ({"y": [[1.0, 2.0]]}, r"curve 0: y has shape \(1, 2\)"),
            ({"y": [0.0, 1.0], "half": [1.0]}, r"curve 0: half has shape \(1,\); expected \(2,\)"),
            ({"y": [0.0, 1.0], "colour": "red;x:url(//evil)"}, "expected six hexadecimal digits"),
        ],
    )
    def test_curves_that_cannot_be_drawn_are_refused(self, curve, expected):
        with pytest.raises(ValueError, match=expected):
            points._checked_curves([curve])

    def test_an_upside_down_range_is_refused(self):
        with pytest.raises(ValueError, match=r"x_range=\(5, -5\): expected two finite numbers, the smaller first"):
            points.points_canvas([], key="plot", x_range=(5, -5))


class TestDrawings:
    def test_good_drawings_come_back_as_tuples(self):
        drawings = parse_drawings({"support": [[[LINE]], [[]]], "query": [LINE, LINE]}, ways=2, shots=1)
        line = ((0.1, 0.2), (0.9, 0.8))
        assert drawings == Drawings(support=(((line,),), ((),)), query=(line, line))
        assert not drawings.ready

    def test_ready_needs_one_example_of_each_class_in_any_pad(self):
        assert parse_drawings({"support": [[[], [LINE]], [[LINE], []]]}, 2, 2).ready

    def test_nothing_drawn_yet(self):
        assert parse_drawings(None, 3, 2) == empty_drawings(3, 2)

    def test_other_ways_and_shots_are_cut_or_filled(self):
        value = {"support": [[[LINE], [LINE]], [[LINE]]]}
        assert parse_drawings(value, 1, 1).support == ((parse_drawings(value, 2, 2).support[0][0],),)
        assert [len(row) for row in parse_drawings(value, 4, 3).support] == [3, 3, 3, 3]

    def test_drawings_from_elsewhere_are_fitted_to_the_pads(self):
        drawings = parse_drawings({"support": [[[LINE], [LINE]], [[LINE]]], "query": [LINE]}, 2, 2)
        for ways, shots in ((1, 1), (2, 3), (4, 1)):
            fit = fitted(drawings, ways, shots)
            assert [len(row) for row in fit.support] == [shots] * ways
            assert fit == parse_drawings({"support": [[[LINE], [LINE]], [[LINE]]], "query": [LINE]}, ways, shots)

    def test_the_pads_begin_with_what_they_are_given(self, monkeypatch):
        monkeypatch.setattr(bridge.st, "session_state", {"pads": {"drawings": {"revision": 3, "support": [[[LINE]]]}}})
        begin = parse_drawings({"query": [LINE]}, 1, 1)
        assert characters.current_drawings("pads", 1, 1, revision=3, begin=begin) != begin
        assert characters.current_drawings("pads", 1, 1, revision=4, begin=begin) == begin
        assert characters.current_drawings("pads", 1, 1, revision=4) == empty_drawings(1, 1)

    def test_a_finger_beyond_the_edge_is_clipped(self):
        assert parse_drawings({"query": [[[-0.2, 1.4], [2, 0]]]}, 1, 1).query == (((0.0, 1.0), (1.0, 0.0)),)

    @pytest.mark.parametrize("value", [*NONSENSE[4:], [[[10**400, None]]]])
    def test_nonsense_in_a_pad_names_the_pad(self, value):
        with pytest.raises(ValueError, match=r"^Class 1, example 2.*expected.*\.$"):
            parse_drawings({"support": [[[], value if value != [{}] else [[{}]]]]}, 1, 2)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ([1], "The drawings are a list: expected a dict"),
            ({"support": "x"}, "The support set is a str: expected a list of classes"),
            ({"support": [[]] * 6}, "The support set has 6 classes: expected at most 5"),
            ({"support": [[[]] * 6]}, "Class 1 has 6 examples: expected at most 5"),
            ({"query": [[]] * 31}, "The query has 31 strokes: expected at most 30"),
            ({"query": [[[0, 0]] * 201]}, "The query, stroke 1 has 201 points: expected at most 200"),
        ],
    )
    def test_too_much_or_the_wrong_type_is_refused(self, value, expected):
        with pytest.raises(ValueError, match=expected):
            parse_drawings(value, 1, 1)

    def test_refusing_is_cheap_and_the_largest_drawing_affordable(self):
        started = time.perf_counter()
        with pytest.raises(ValueError, match="expected at most 200"):
            parse_drawings({"query": [[[0.5, 0.5]] * 10_000_000]}, 1, 1)
        assert time.perf_counter() - started < 0.5
        pad = [[[0.5, 0.25]] * 200] * 30
        started = time.perf_counter()
        parse_drawings({"support": [[pad] * 5] * 5, "query": pad}, 5, 5)
        assert time.perf_counter() - started < 1.5

    @pytest.mark.parametrize(("ways", "shots"), [(0, 1), (6, 1), (1, 0), (1, 6)])
    def test_ways_and_shots_have_bounds(self, ways, shots):
        with pytest.raises(ValueError, match="expected 1 to 5 ways and 1 to 5 shots"):
            parse_drawings(None, ways, shots)

    def test_the_canvas_shows_why_drawings_could_not_be_read(self, monkeypatch):
        state = {"pads": {"drawings": {"revision": 0, "support": 5}}}
        monkeypatch.setattr(bridge.st, "session_state", state)
        drawings, problem = characters._read("pads", 2, 1, 0)
        assert drawings == empty_drawings(2, 1)
        assert problem == "The drawings could not be read. The support set is a int: expected a list of classes."


class TestImagesAndProbabilities:
    def test_an_image_travels_as_bytes(self):
        encoded = characters.encode_image([[0, 255], [128, 3]], "preview")
        assert encoded["size"] == 2
        assert list(base64.b64decode(encoded["bytes"])) == [0, 255, 128, 3]

    @pytest.mark.parametrize(
        ("image", "expected"),
        [
            ([[0, 1]], r"preview has shape \(1, 2\)"),
            ([[0, 1], [2]], "preview: expected a square image"),
            ([[300]], "preview has values outside 0 to 255"),
            ([[math.nan]], "preview has values outside 0 to 255"),
            (np.zeros((200, 200)), r"size from 1 to 105"),
        ],
    )
    def test_other_images_are_refused(self, image, expected):
        with pytest.raises(ValueError, match=expected):
            characters.encode_image(image, "preview")

    @pytest.mark.parametrize("probabilities", [[0.5], [0.5, math.nan], [2.0, 0.0]])
    def test_probabilities_are_checked(self, probabilities):
        with pytest.raises(ValueError, match="expected 2 numbers in"):
            characters._checked_probabilities(probabilities, 2)


def distance(px, py, a, b):
    """Distance of a point to a segment, by trying ten thousand places on it."""
    share = np.linspace(0, 1, 10_001)
    return np.hypot(a[0] + share * (b[0] - a[0]) - px, a[1] + share * (b[1] - a[1]) - py).min()


class TestRasterise:
    def test_nothing_drawn_is_background(self):
        image = rasterise(())
        assert image.shape == (28, 28)
        assert image.dtype == np.float32
        assert not image.any()

    def test_against_distances_found_by_search(self):
        stroke = ((0.2, 0.3), (0.7, 0.35), (0.4, 0.9))
        image = rasterise((stroke,), size=20)
        scale = (OMNIGLOT_EXTENT * 20 - OMNIGLOT_PEN * 20 / 28) / 0.6  # the box is 0.5 wide and 0.6 high
        placed = [((x - 0.45) * scale + 10, (y - 0.6) * scale + 10) for x, y in stroke]
        for row in range(20):
            for column in range(20):
                nearest = min(distance(column + 0.5, row + 0.5, *placed[n : n + 2]) for n in (0, 1))
                expected = np.clip((OMNIGLOT_PEN / 2 * 20 / 28 - nearest) / (0.9 * 20 / 28) + 0.5, 0, 1)
                assert image[row, column] == pytest.approx(expected, abs=2e-3)

    def test_the_pen_is_as_wide_as_it_says(self):
        image = rasterise((((0.0, 0.5), (1.0, 0.5)),))
        assert image[:, 10:18].sum(axis=0) == pytest.approx(OMNIGLOT_PEN, abs=0.06)

    def test_place_and_size_on_the_pad_do_not_matter(self):
        big = ((0.1, 0.1), (0.9, 0.5), (0.2, 0.9))
        small = tuple((0.6 + x / 3, 0.1 + y / 3) for x, y in big)
        assert np.abs(rasterise((big,)) - rasterise((small,))).max() < 1e-5

    def test_the_ink_is_as_large_as_omniglots(self):
        image = rasterise((((0.2, 0.1), (0.8, 0.9)), ((0.8, 0.1), (0.2, 0.9))))
        rows = np.flatnonzero(image.max(axis=1) > 0.5)
        assert rows[-1] - rows[0] + 1 == pytest.approx(OMNIGLOT_EXTENT * 28, abs=1)
        assert (rows[0] + rows[-1]) / 2 == pytest.approx(13.5)

    def test_a_tap_is_a_dot_and_not_a_blot(self):
        dot = rasterise((((0.3, 0.3),),))
        assert dot.max() == pytest.approx(np.clip((OMNIGLOT_PEN / 2 - math.sqrt(0.5)) / 0.9 + 0.5, 0, 1), abs=1e-5)
        assert 0 < dot.sum() < 4
        assert rasterise((((0.3, 0.3), (0.31, 0.3)),)).sum() < 5

    def test_repeated_points_change_nothing(self):
        clean = rasterise((((0.1, 0.1), (0.9, 0.8)),))
        assert np.array_equal(clean, rasterise((((0.1, 0.1), (0.1, 0.1), (0.9, 0.8), (0.9, 0.8)),)))

    def test_a_hand_drawn_character_takes_milliseconds(self):
        turns = np.linspace(0, 7, 40)
        drawing = tuple(
            tuple(zip(0.5 + 0.3 * np.cos(turns + k), 0.5 + 0.3 * np.sin(turns), strict=True)) for k in range(3)
        )
        times = []
        for _repeat in range(7):
            started = time.perf_counter()
            rasterise(drawing)
            times.append(time.perf_counter() - started)
        assert min(times) < 0.005


def test_strokes_need_no_streamlit():
    code = "import sys, metalab.ui.canvas.strokes; sys.exit('streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_both_canvases_run_in_a_script():
    def page():
        import streamlit as st

        from metalab.ui.canvas.characters import character_canvas
        from metalab.ui.canvas.points import points_canvas

        points = points_canvas([(1, 2)], key="plot", curves=[{"y": [0.0, 1.0], "label": "f"}])
        drawings = character_canvas(3, 2, key="pads")
        st.text(f"{points} {drawings.ready}")

    app = AppTest.from_function(page).run(timeout=20)
    assert not app.exception
    assert app.text[0].value == "[(1.0, 2.0)] False"
