"""The class's page in a real browser: closed to a student, opened by the teacher's token, and what it then stops."""

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.browser
playwright.expect.set_options(timeout=45_000)

TOKEN = "a right horse"


def show(page, token):
    page.get_by_label("Teacher's token", exact=True).fill(token)
    page.get_by_role("button", name="Enter", exact=True).click()


@pytest.mark.parametrize("unvisited_app", [{"METALAB_TEACHER_TOKEN": TOKEN}], indirect=True)
def test_the_token_opens_the_class_and_a_students_run_stops_after_a_question(unvisited_app, visitor):
    student, teacher = visitor(), visitor()
    student.goto(f"{unvisited_app}/train?outer_steps=100000")
    student.locator(".st-key-train-start button:visible").click()
    student.locator('.ml-badge[data-state="running"]').wait_for()

    teacher.goto(f"{unvisited_app}/classroom")
    teacher.get_by_text("This page is for whoever is in charge of this server.").wait_for()
    playwright.expect(teacher.get_by_role("button", name="Stop all")).to_have_count(0)
    show(teacher, "a wrong horse")
    teacher.get_by_text("This is not the teacher's token.").wait_for()
    playwright.expect(teacher.get_by_role("button", name="Stop all")).to_have_count(0)
    show(teacher, TOKEN)
    teacher.get_by_text("1 person trains or waits").wait_for()

    teacher.get_by_role("button", name="Stop all").click()
    question = teacher.get_by_role("dialog")
    playwright.expect(question).to_contain_text("Every run that trains or waits ends")
    question.get_by_role("button", name="Do it").click()
    teacher.get_by_text("1 run was stopped.").wait_for()
    student.locator('.ml-badge[data-state="stopped"]').wait_for()
    student.get_by_text("Whoever is in charge of this server stopped it.").first.wait_for()

    student.goto(f"{unvisited_app}/classroom")
    student.get_by_text("This page is for whoever is in charge of this server.").wait_for()
    playwright.expect(student.get_by_role("button", name="Stop all")).to_have_count(0)
