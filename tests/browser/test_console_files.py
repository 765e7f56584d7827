"""The console's pages of files and of sources in a real browser, on a phone's width, by forms too."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage, Served
from tests.browser.test_console import faults_of

pytestmark = pytest.mark.timeout(900)

PATHS = (
    "/console/files",
    "/console/sources",
    "/console/sources/new/folder",
    "/console/sources/new/web",
)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_files_and_sources_are_usable_by_anybody_in_both_themes(
    open_page: OpenPage, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    for path in PATHS:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        assert faults_of(page) == [], path
        is_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not is_wide, f"{path} scrolls sideways"


@pytest.mark.parametrize("scripts", [True, False])
def test_files_are_kept_in_folders_and_put_into_a_base(open_page: OpenPage, scripts: bool) -> None:
    page = open_page(
        "/console/files", java_script_enabled=scripts, viewport={"width": 320, "height": 700}
    )
    folder = f"Harbour {scripts}"
    page.fill("#name", folder)
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("heading", name=folder, exact=True).wait_for()
    files = [
        {"name": f"{at}.md", "mimeType": "text/markdown", "buffer": b"# Tides\n\nHigh at noon."}
        for at in range(2)
    ]
    page.set_input_files("#file", files=files)
    page.select_option("#kb", "team")
    with page.expect_navigation():
        page.get_by_role("button", name="Add", exact=True).click()
    assert page.locator("td.title a").all_inner_texts() == ["0.md", "1.md"]
    assert page.get_by_role("link", name="team").count() == 2
    page.get_by_role("link", name="0.md").click()
    page.get_by_role("heading", name="0.md").wait_for()
    page.get_by_role("button", name="Take out").click()
    page.get_by_text("None that you can see.").wait_for()
    page.fill("#rename-to", "tides.md")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("heading", name="tides.md").wait_for()
    if scripts:
        assert faults_of(page) == []
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    page.get_by_role("button", name="Delete tides.md").click()
    page.get_by_role("heading", name=folder, exact=True).wait_for()
    assert page.locator("td.title a").all_inner_texts() == ["1.md"]


@pytest.mark.parametrize("scripts", [True, False])
def test_a_source_is_connected_looked_at_and_removed(
    open_page: OpenPage, served: Served, scripts: bool
) -> None:
    page = open_page(
        "/console/sources", java_script_enabled=scripts, viewport={"width": 320, "height": 700}
    )
    page.get_by_role("link", name="Folder", exact=True).click()
    page.get_by_label("Path").fill(str(served.papers))
    page.get_by_role("button", name="Show what a sync would take").click()
    page.get_by_text("tides.md").wait_for()
    page.get_by_label("Call it").fill(f"Papers {scripts}")
    page.get_by_role("button", name="Check and connect").click()
    page.get_by_role("heading", name=f"Papers {scripts}").wait_for()
    for _ in range(120):  # its documents are read by a worker
        if page.get_by_text("1 document answers").count() and page.get_by_text("damaged").count():
            break
        page.wait_for_timeout(500)
        page.reload()
    assert "1 document answers, 50 %" in page.locator("#source").inner_text()
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("is paused").wait_for()
    if scripts:
        assert faults_of(page) == []
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    page.get_by_label("Type Papers").fill(f"Papers {scripts}")
    page.get_by_role("button", name="Remove the source").click()
    page.get_by_text("is removed, with 1 document").wait_for()
