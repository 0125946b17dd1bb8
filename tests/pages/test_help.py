"""Every control of every page says in one line of help what it does."""

import pytest

from metalab.store import Store
from metalab.training.config import parse_config

KINDS = (
    "button",
    "button_group",
    "download_button",
    "form_submit_button",
    "link_button",
    "multiselect",
    "number_input",
    "select_slider",
    "selectbox",
    "slider",
    "text_input",
    "toggle",
)


def without_help(app):
    found = [element.proto for kind in KINDS for element in app.get(kind)]
    assert found
    return [proto.label for proto in found if not proto.help.strip() or "\n\n" in proto.help]


@pytest.mark.parametrize(
    "link",
    [
        {"name": "home"},
        {"name": "train"},
        {"name": "train", "family": "omniglot"},
        {"name": "train", "family": "glyphs", "algorithm": "reptile"},
        {"name": "train", "algorithm": "pretrained"},
        {"name": "adapt"},
        {"name": "adapt", "mode": "own"},
        {"name": "adapt", "family": "omniglot"},
        *({"name": name} for name in ("speed", "embeddings", "theta", "order", "sensitivity", "decision", "sweeps")),
        {"name": "theta", "view": "landscape"},
        {"name": "embeddings", "own": "true"},
    ],
)
def test_every_control_has_help(open_page, tmp_path, link):
    more = {}
    if link["name"] in ("home", "train"):
        open_page("home")
        store = Store(tmp_path / "home")
        more = {"runs": store.create(parse_config({}), "someone", state="finished").id}
        store.close()
    assert without_help(open_page(**link, **more if link["name"] == "train" else {})) == []
