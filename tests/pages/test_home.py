"""Home without a browser."""

import subprocess
import sys
from pathlib import Path

from metalab.store import Store
from metalab.training.config import parse_config
from metalab.training.presets import PRESETS

ROOT = Path(__file__).parents[2]


def test_the_empty_home_says_what_to_press(open_page):
    app = open_page("home")
    assert [heading.value for heading in app.subheader] == ["Start with one press", "Recent runs"]
    assert app.info[0].value.startswith("No runs yet. Press Start")
    assert [button.label for button in app.button] == ["Start"] * len(PRESETS)


def test_recent_runs_of_everybody_are_listed_with_state_and_hostile_names_as_text(open_page, tmp_path):
    app = open_page("home")
    store = Store(tmp_path / "home")
    store.create(parse_config({"seed": 4}), "someone", "*bold* <b>[x](javascript:1)", state="finished")
    app.run()
    shown = [markdown.value for markdown in app.markdown]
    assert any(r"\*bold\* \<b\>\[x\]\(javascript\:1\)" in text for text in shown)
    assert any("sinusoid · mlp · seed 4 · someone else's · just now" in text for text in shown)
    assert any("Finished" in text for text in shown)
    assert not app.info
    store.close()


def test_every_preset_is_a_whole_config():
    for preset in PRESETS.values():
        assert preset.title
        assert preset.summary
        assert preset.configs
        for config in preset.configs:
            parse_config(config)


def test_a_preset_queues_its_runs_and_goes_to_train(open_page, tmp_path):
    app = open_page("home")
    app.button(key="start-reptile-against-maml").click().run()
    store = Store(tmp_path / "home")
    assert [run.algorithm for run in store.runs()] == ["reptile", "maml"]
    store.close()


def test_meta_learning_multi_task_and_transfer_start_with_one_press(open_page, tmp_path):
    app = open_page("home")
    app.button(key="start-meta-multi-task-transfer").click().run()
    store = Store(tmp_path / "home")
    assert {run.algorithm: run.family for run in store.runs()} == dict.fromkeys(
        ("maml", "multi_task", "pretrained"), "sinusoid"
    )
    store.close()


def test_a_home_whose_locks_cannot_be_taken_says_what_to_do(open_page, tmp_path):
    app = open_page("home")
    (tmp_path / "home" / "locks").write_text("not a folder")
    app.button(key="start-reptile-against-maml").click().run()
    assert len(app.error) == 1
    assert app.error[0].value.startswith("cannot write to")
    assert "set METALAB\\_HOME to a folder that you may write to" in app.error[0].value


def test_the_first_paint_needs_no_torch(tmp_path):
    script = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(ROOT / 'pages' / 'home.py')!r}, default_timeout=60).run()\n"
        "assert not app.exception, app.exception\n"
        "assert app.title[0].value\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    environment = {"METALAB_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
