"""What is taken home from Train: a script that runs by itself, and a report that draws without a server."""

import ast

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser


def test_a_run_leaves_as_a_script_and_as_a_report_that_opens_offline(app, visitor, tmp_path):
    page = visitor(accept_downloads=True)
    page.goto(f"{app}/train?outer_steps=4&evaluate_every=2&evaluation_tasks=3&algorithm=reptile")
    page.locator(".st-key-train-start button:visible").click()
    page.locator('.ml-badge[data-state="finished"]').wait_for()
    page.get_by_role("button", name="Take it home").click()
    files = {}
    for name in ("PyTorch script", "Report (HTML)"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=name).click()
        files[name] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[name])
    script, report = files.values()
    assert script.name == "reptile_sinusoid.py"
    assert "OUTER_STEPS = 4" in ast.unparse(ast.parse(script.read_text(encoding="utf-8")))
    page.context.set_offline(True)
    page.goto(report.as_uri())
    page.wait_for_function("() => document.querySelectorAll('figure .main-svg').length >= 3")
    assert "Reptile on Sine waves" in page.locator("body").inner_text()
