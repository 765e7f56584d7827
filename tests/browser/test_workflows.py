"""Workflows in a real browser: built, run, edited and published by mouse, touch and keyboard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import pytest
from playwright.sync_api import Locator, Page

from tests.browser.conftest import OpenPage
from tests.browser.test_console import faults_of

pytestmark = pytest.mark.timeout(900)

W = "/console/workflows"
SHOTS = os.environ.get("SCRUBJAY_TEST_SHOTS", "")  # a folder for pictures of each state


def picture(page: Page, name: str) -> None:
    """A picture for people to look at, where a folder for them is named."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def sound(page: Page, name: str) -> None:
    """What every state of every page promises."""
    picture(page, name)
    assert faults_of(page) == [], name
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), name


def create(page: Page, name: str) -> None:
    page.goto(W)
    page.fill("#name", name)
    page.get_by_role("button", name="Create it").click()
    page.wait_for_url(f"**{W}/{name}")


def add(page: Page, kind: str, after: str) -> str:
    """The id of a step added by the list's form, whose own form is then open."""
    page.select_option("#add-type", kind)
    page.select_option("#add-after", after)
    page.get_by_role("button", name="Add it").click()
    page.wait_for_url("**/steps/*")
    return page.url.rpartition("/")[2]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_a_flow_is_built_and_run_without_a_script_and_every_page_is_usable_by_anybody(
    open_page: OpenPage, scheme: str, width: int
) -> None:
    name = f"plain-{width}"
    page = open_page(
        "/",
        java_script_enabled=False,
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
    )
    create(page, name)
    ask = add(page, "Ask", "begin")
    page.fill("#p-message", "Refund {{begin.query}}?")
    page.fill('[name="fields.0.$key"]', "amount")
    page.select_option('[name="fields.0.type"]', "number")
    page.get_by_role("button", name="Save the step").click()
    page.wait_for_url(f"**{W}/{name}")
    say = add(page, "Message", ask)
    page.fill("#p-text", "Paid {{ask.amount}}.")
    page.get_by_role("button", name="Save the step").click()
    page.wait_for_url(f"**{W}/{name}")
    page.goto(f"{W}/{name}/run?version=draft")
    page.get_by_label("Question").fill("a coat")
    page.get_by_role("button", name="Run it").click()
    run = page.url
    for _ in range(600):
        page.goto(run)
        if page.get_by_role("button", name="Answer").count():
            break
        page.wait_for_timeout(200)
    page.get_by_label("amount").fill("12")
    page.get_by_role("button", name="Answer").click()
    for _ in range(600):
        page.goto(run)
        if page.get_by_text("Paid 12.").count():
            break
        page.wait_for_timeout(200)
    assert page.get_by_text("Paid 12.").count()
    page.goto(f"{W}/{name}/publish")
    page.get_by_role("button", name="Publish it").click()
    looked = open_page(f"{W}/{name}", color_scheme=scheme, viewport={"width": width, "height": 800})
    for path in (
        f"{W}/{name}",
        f"{W}/{name}/steps/{ask}",
        f"{W}/{name}/steps/{say}",
        f"{W}/{name}/run",
        f"{W}/{name}/publish",
        f"{W}/{name}/versions",
        "/console/runs",
        W,
        run,
    ):
        looked.goto(path)
        if path == f"{W}/{name}":
            looked.locator('.node[data-id="message"]').wait_for()  # the canvas, too
        sound(looked, f"{scheme}-{path.rpartition('/console/')[2].replace('/', '-')[:40]}")


class Mouse:
    """A hand at a canvas; this one has a mouse."""

    options: ClassVar[dict[str, object]] = {"viewport": {"width": 1280, "height": 900}}

    def __init__(self, page: Page) -> None:
        self.page = page

    def node(self, step: str) -> Locator:
        return self.page.locator(f'.node[data-id="{step}"]')

    def press(self, what: Locator) -> None:
        what.click()

    def fill(self, name: str, text: str) -> None:
        field = self.page.locator(f'.inspector [name="{name}"]')
        if field.evaluate("it => it.tagName") == "SELECT":
            field.select_option(text)
        else:
            field.fill(text)

    def add(self, kind: str, after: str) -> None:
        self.press(self.node(after))
        self.page.locator(".inspector form").wait_for()
        self.press(self.page.locator(".palette").get_by_role("button", name=kind, exact=True))
        self.node(kind.lower()).wait_for()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.page.mouse.move(*end)
        self.page.mouse.up()

    def connect(self, source: str, target: str) -> None:
        self.drag(middle(self.node(source).locator(".port")), middle(self.node(target)))

    def open(self, step: str) -> None:
        self.press(self.node(step))
        self.page.locator(f'.inspector form[action$="/steps/{step}"]').wait_for()

    def move(self, step: str) -> None:
        x, y = middle(self.node(step))
        self.drag((x, y), (x + 120, y + 40))


class Touch(Mouse):
    """A finger on a phone."""

    options: ClassVar[dict[str, object]] = {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    }

    def press(self, what: Locator) -> None:
        what.scroll_into_view_if_needed()
        what.tap()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        client = self.page.context.new_cdp_session(self.page)
        for share in (0.0, 0.3, 0.7, 1.0):
            at = {
                "x": start[0] + (end[0] - start[0]) * share,
                "y": start[1] + (end[1] - start[1]) * share,
            }
            kind = "touchMove" if share else "touchStart"
            client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at]})
        client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def connect(self, source: str, target: str) -> None:
        self.see_all()
        super().connect(source, target)

    def open(self, step: str) -> None:
        self.see_all()
        super().open(step)

    def see_all(self) -> None:
        """All steps at once, as small as they must be."""
        self.press(self.page.get_by_role("button", name="Fit"))
        self.page.locator(".canvas").scroll_into_view_if_needed()


class Keyboard(Mouse):
    """Nothing but keys."""

    def press(self, what: Locator) -> None:
        self.reach(what)
        self.page.keyboard.press("Enter")

    def reach(self, what: Locator) -> None:
        """Tab until it has the focus."""
        what.wait_for()
        for key in ("Tab", "Shift+Tab"):
            for _ in range(150):
                if what.evaluate("it => it === document.activeElement"):
                    return
                self.page.keyboard.press(key)
        raise AssertionError("it can't be reached by keyboard")

    def fill(self, name: str, text: str) -> None:
        field = self.page.locator(f'.inspector [name="{name}"]')
        self.reach(field)
        if field.evaluate("it => it.tagName") == "SELECT":
            self.page.keyboard.type(text)
        else:
            self.page.keyboard.press("Control+A")
            self.page.keyboard.type(text)

    def connect(self, source: str, target: str) -> None:
        self.reach(self.node(source))
        self.page.keyboard.press("c")
        for _ in range(12):
            if "aimed" in (self.node(target).get_attribute("class") or ""):
                break
            self.page.keyboard.press("ArrowDown")
        self.page.keyboard.press("Enter")

    def open(self, step: str) -> None:
        self.press(self.node(step))
        self.page.locator(f'.inspector form[action$="/steps/{step}"]').wait_for()

    def move(self, step: str) -> None:
        self.reach(self.node(step))
        self.page.keyboard.press("Shift+ArrowRight")


def middle(what: Locator) -> tuple[float, float]:
    """Where the middle of it is on the screen."""
    box = what.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def edges(page: Page) -> set[tuple[str, str]]:
    """What leads where on the canvas."""
    found = page.locator(".edge").evaluate_all(
        "all => all.map(e => [e.dataset.source, e.dataset.target])"
    )
    return {(source, target) for source, target in found}


def saved(page: Page) -> None:
    """Wait until the draft is on the server."""
    page.locator(".saved").get_by_text("Saved").wait_for()


@pytest.mark.parametrize("hand", [Mouse, Touch, Keyboard])
def test_a_triage_flow_is_built_run_edited_and_published_on_the_canvas(
    open_page: OpenPage, hand: type[Mouse]
) -> None:
    name = f"triage-{hand.__name__.lower()}"
    page = open_page("/", **hand.options)
    create(page, name)
    at = hand(page)
    build(page, at, name)
    run(page, at, name)
    publish_twice(page, at, name)


def build(page: Page, at: Mouse, name: str) -> None:
    """Steps, connections and forms of a triage: refunds are asked about, the rest is answered."""
    at.node("begin").wait_for()
    at.add("Categorize", "begin")
    at.add("Ask", "categorize")
    at.add("Message", "ask")
    assert edges(page) == {("begin", "categorize"), ("categorize", "ask"), ("ask", "message")}
    at.connect("categorize", "message")
    page.locator('.edge[data-source="categorize"][data-target="message"]').wait_for(
        state="attached"
    )
    at.move("message")
    sound(page, f"{name}-built")
    at.open("categorize")
    at.fill("classes.0.name", "refund")
    at.fill("classes.0.to", "ask")
    at.press(page.get_by_role("button", name="Save, and one more row"))
    page.locator('.inspector [name="classes.1.name"]').wait_for()
    at.fill("classes.1.name", "other")
    at.fill("classes.1.to", "message")
    sound(page, f"{name}-form")
    at.press(page.get_by_role("button", name="Save the step"))
    page.locator(".edge text").get_by_text("other").wait_for()
    at.open("ask")
    at.fill("fields.0.$key", "amount")
    at.fill("fields.0.type", "number")
    at.press(page.get_by_role("button", name="Save the step"))
    page.locator(".inspector").wait_for(state="hidden")
    at.open("message")
    at.fill("text", "Paid {{ask.amount|begin.query}}.")
    at.press(page.get_by_role("button", name="Save the step"))
    page.locator(".inspector").wait_for(state="hidden")
    page.get_by_text("ready to run").wait_for()  # the list is in step


def run(page: Page, at: Mouse, name: str) -> None:
    """Run the draft in place, reload, and answer what it asks."""
    at.press(page.get_by_role("button", name="Run the draft"))
    at.fill("query", "a refund for the coat")
    at.press(page.get_by_role("button", name="Run it"))
    page.locator('.inspector [name="amount"]').wait_for()
    assert "waiting" in (at.node("ask").get_attribute("aria-label") or "")
    sound(page, f"{name}-waiting")
    page.reload()  # the run is still followed
    page.locator('.inspector [name="amount"]').wait_for()
    at.fill("amount", "12")
    at.press(page.locator(".inspector").get_by_role("button", name="Answer"))
    page.get_by_text("Run: done").wait_for()
    assert "Paid 12." in page.locator(".inspector .writing").inner_text()
    sound(page, f"{name}-done")


def publish_twice(page: Page, at: Mouse, name: str) -> None:
    """Publish, edit, and publish what changed."""
    at.press(page.get_by_role("link", name="Publish", exact=True))
    at.press(page.get_by_role("button", name="Publish it"))
    at.node("message").wait_for()
    at.press(page.get_by_role("button", name="Close"))
    at.open("message")
    at.fill("text", "Sent {{ask.amount|begin.query}}.")
    at.press(page.get_by_role("button", name="Save the step"))
    page.locator(".inspector").wait_for(state="hidden")
    at.press(page.get_by_role("link", name="Publish", exact=True))
    page.get_by_text("→ Sent").wait_for()
    sound(page, f"{name}-publish")
    at.press(page.get_by_role("button", name="Publish it"))
    page.get_by_text("Published as version 2.").wait_for()


def test_two_who_edit_one_flow_on_the_canvas_lose_nothing_and_both_are_told(
    open_page: OpenPage,
) -> None:
    one = open_page("/", viewport={"width": 1280, "height": 900})
    create(one, "both")
    first = Mouse(one)
    first.node("begin").wait_for()
    first.add("Rewrite", "begin")
    first.add("Message", "rewrite")
    saved(one)
    two = open_page(f"{W}/both", viewport={"width": 1280, "height": 900})
    second = Mouse(two)
    second.node("message").wait_for()
    # Both change before either saves: the one draws, the other removes.
    second.node("rewrite").focus()
    two.keyboard.press("ArrowRight")
    first.node("message").focus()
    one.keyboard.press("Delete")
    saved(one)
    saved(two)
    told = one.locator(".told, .saved").filter(has_text="saved")
    told.first.wait_for()
    two.locator(".told").get_by_text("saved meanwhile").wait_for()
    second.node("message").wait_for(state="detached")
    place = first.node("rewrite").bounding_box()
    assert place is not None
    assert edges(one) == edges(two) == {("begin", "rewrite")}


def test_what_was_not_saved_survives_being_offline_and_a_reload(open_page: OpenPage) -> None:
    page = open_page("/", viewport={"width": 1280, "height": 900})
    create(page, "away")
    hand = Mouse(page)
    hand.node("begin").wait_for()
    hand.add("Message", "begin")
    saved(page)
    page.route("**/draft", lambda route: route.abort())
    hand.node("message").focus()
    page.keyboard.press("Delete")
    page.get_by_text("Offline, kept here").wait_for()
    page.unroute("**/draft")
    page.reload()
    page.get_by_text("What you had not saved is back.").wait_for()
    assert page.locator('.node[data-id="message"]').count() == 0
    saved(page)
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Undo").click()
    hand.node("message").wait_for()
    saved(page)
    page.reload()
    hand.node("message").wait_for()


def test_what_two_changed_differently_is_shown_and_mine_can_be_kept_as_a_copy(
    open_page: OpenPage,
) -> None:
    one = open_page("/", viewport={"width": 1280, "height": 900})
    create(one, "clash")
    first = Mouse(one)
    first.node("begin").wait_for()
    first.add("Message", "begin")
    saved(one)
    one.route("**/draft*", lambda route: route.abort())  # it is offline for a while
    first.node("message").focus()
    one.keyboard.press("Delete")
    one.get_by_text("Offline, kept here").wait_for()
    two = open_page(f"{W}/clash", viewport={"width": 1280, "height": 900})
    second = Mouse(two)
    second.open("message")
    second.fill("text", "Hers")
    second.press(two.get_by_role("button", name="Save the step"))
    two.locator(".inspector").wait_for(state="hidden")
    one.unroute("**/draft*")
    one.locator(".clash").wait_for()
    sound(one, "clash")
    first.press(one.get_by_role("button", name="Keep mine as a copy"))
    one.get_by_text("Yours is kept as clash-1.").wait_for()
    first.node("message").wait_for()  # hers
    one.goto(f"{W}/clash-1")
    first.node("begin").wait_for()
    assert first.node("message").count() == 0
