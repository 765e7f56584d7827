"""The pages in a real browser: by anybody, on a phone, by keyboard, without a script, after faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Frame, Page

from tests.browser.conftest import OpenPage, Served
from tests.fakes.held_server import HALF
from tests.fakes.node import node_folder

pytestmark = pytest.mark.timeout(900)

PATHS = (
    "/",
    "/console",
    "/console/activity",
    "/console/insight",
    "/console/insight/status",
    "/console/people",
    "/console/runs",
    "/console/tokens",
    "/console/tools",
    "/console/workflows",
    "/sign-in",
)
RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']}"
QUESTION = "How many hours of advanced sick leave?"


def faults_of(page: Page | Frame) -> list[str]:
    """What axe finds wrong with the page as it is."""
    axe = (Path(node_folder()) / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")
    page.evaluate(axe)
    found = page.evaluate(f"axe.run(document, {RULES})")
    return [f"{item['id']}: {item['nodes'][0]['html']}" for item in found["violations"]]


def ask(page: Page, question: str) -> None:
    page.fill("#q", question)
    page.click("#ask button")
    page.wait_for_url("**/conversations/**", wait_until="commit")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_every_page_is_usable_by_anybody_in_both_themes(
    open_page: OpenPage, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    ask(page, QUESTION)
    page.locator("article.answer").wait_for()
    paths = [page.url]
    page.goto("/console")
    base = page.get_by_role("link", name="team").get_attribute("href") or ""
    page.goto(base)
    document = page.locator("td.title a").first.get_attribute("href") or ""
    paths += [*PATHS, base, document, f"{base}/test?q=lodging", f"{base}/settings"]
    for path in paths:
        page.goto(path)
        assert faults_of(page) == [], path
        is_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not is_wide, f"{path} scrolls sideways"


def test_a_file_dropped_is_read_cited_and_gone(open_page: OpenPage) -> None:
    page = open_page("/console")
    page.fill("#name", "Harbour")
    with page.expect_navigation():
        page.get_by_role("button", name="Create it").click()
    files = [
        {
            "name": "tides.md",
            "mimeType": "text/markdown",
            "buffer": b"# Tides\n\nHigh tide is at noon.",
        },
        {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 nothing"},
    ]
    page.set_input_files("#file", files=files)
    with page.expect_navigation():
        page.get_by_role("button", name="Add", exact=True).click()
    # The states move by themselves, without a reload.
    page.locator("#documents").get_by_text("ready", exact=True).wait_for()
    page.locator("#documents").get_by_text("failed", exact=True).wait_for()
    assert "damaged" in page.locator("#documents").inner_text()
    page.goto("/")
    ask(page, "When is high tide?")
    page.locator("article.answer").wait_for()
    assert "noon" in page.locator("article.answer").inner_text()
    with page.context.expect_page() as opening:
        page.locator(".citations .open").first.click()
    cited = opening.value
    assert "High tide is at noon." in cited.locator("mark.quote").first.inner_text()


def test_an_answer_survives_a_reload_and_a_second_tab(open_page: OpenPage, served: Served) -> None:
    served.hold()
    page = open_page("/")
    ask(page, QUESTION)
    page.get_by_text(HALF).wait_for()
    page.reload()
    page.get_by_text(HALF).wait_for()
    second = page.context.new_page()
    second.goto(page.url)
    second.get_by_text(HALF).wait_for()
    served.let_go()
    for tab in (page, second):
        tab.locator("article.answer .citations").wait_for()
        assert "240 hours" in tab.locator("article.answer").inner_text()


def test_a_question_outlasts_the_servers_death(open_page: OpenPage, served: Served) -> None:
    served.hold()
    page = open_page("/")
    ask(page, QUESTION)
    page.get_by_text(HALF).wait_for()
    served.kill()
    served.let_go()
    served.start()
    page.locator("article.answer .citations").wait_for()
    assert "240 hours" in page.locator("article.answer").inner_text()
    assert page.locator(".turn").count() == 1


def test_an_answer_under_way_is_stopped(open_page: OpenPage, served: Served) -> None:
    served.hold()
    page = open_page("/")
    ask(page, "Is anybody there?")
    page.get_by_role("button", name="Stop").click()
    page.locator("#pending").wait_for(state="detached")
    served.let_go()


def test_by_keyboard_alone_a_question_is_asked_and_its_source_opened(open_page: OpenPage) -> None:
    page = open_page("/")
    page.keyboard.type(QUESTION)  # the field has the focus
    page.keyboard.press("Enter")
    page.locator("article.answer .citations").wait_for()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.citations .open')"):
            break
    with page.context.expect_page() as opening:
        page.keyboard.press("Enter")
    assert "240 hours" in opening.value.locator("mark.quote").first.inner_text()


def test_without_a_script_files_are_added_and_questions_answered(open_page: OpenPage) -> None:
    page = open_page("/console", java_script_enabled=False)
    page.fill("#name", "Library")
    page.get_by_role("button", name="Create it").click()
    base = page.url
    note = {
        "name": "hours.md",
        "mimeType": "text/markdown",
        "buffer": b"# Hours\n\nThe library opens at ten.",
    }
    page.set_input_files("#file", files=[note])
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("1 document on the way.").wait_for()
    for _ in range(200):
        page.goto(base)
        if page.get_by_text("ready").count():
            break
        page.wait_for_timeout(200)
    page.goto("/")
    page.fill("#q", "When does the library open?")
    page.click("#ask button")
    page.get_by_text("at ten").first.wait_for()  # the page looks again by itself
