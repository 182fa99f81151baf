"""The page in a real browser, by keyboard: what it shows, what it keeps, what it never runs."""

import threading
import time
from contextlib import closing, contextmanager

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe

from tests.tiny import ROOT
from tests.web.conftest import World
from tests.web.worlds import CLASSES, PASSWORD, PICTURES, ids

pytestmark = pytest.mark.browser

WAIT_MS = 30_000
"""For a machine that does other things, too; nothing waits as long where it is free."""

SCREENSHOTS = ROOT / "build" / "screenshots"
"""What people see, for whoever wants to look at it after a run."""


@contextmanager
def serving(world):
    """Answer at a free port, in a thread of this process; yields the address."""
    config = uvicorn.Config(world.app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def served(tmp_path, chromium):
    """A world in which texts are attacks, and its address."""
    guide = tmp_path / "guide.md"
    guide.write_text("# Mood\n\n- **good**: the writer is content\n")
    world = World(tmp_path, guidelines=str(guide))
    with closing(world.store), serving(world) as address:
        yield world, address


class LeaseManager:
    """Somebody at the page."""

    def __init__(self, browser, address, name, path="/", **context):
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{address}{path}")
        self.page.fill("[name=name]", name)
        self.page.fill("[name=password]", PASSWORD)
        self.page.keyboard.press("Enter")
        self.wait("article.item, #empty:not([hidden])")

    def wait(self, selector):
        return self.page.wait_for_selector(selector)

    @property
    def item(self):
        """Name what is on the screen."""
        return self.page.get_attribute("article.item", "data-sample")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self):
        """Wait until everything is on disk."""
        self.page.wait_for_function(
            "() => Object.keys(localStorage).every((key) => localStorage.getItem(key) === '[]')"
        )

    def next_after(self, item):
        """Wait for another item than this."""
        self.page.wait_for_function(
            "(id) => document.querySelector('article.item')?.dataset.sample !== id", arg=item
        )

    def label(self, key):
        """Press a key on the item on the screen, its image included; returns the item."""
        item = self.item
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.item .picture img')].every("
            "(image) => image.complete && image.naturalWidth > 0)"
        )
        self.press(key)
        self.next_after(item)
        return item

    def label_group(self, key):
        """Take the second sample of a group out, or in, and label the others; returns those."""
        group = self.page.get_attribute("article.group", "data-bulk")
        self.press("ArrowRight", "ArrowRight", "Space")
        labeled = self.page.eval_on_selector_all(
            ".grid input:checked", "(boxes) => boxes.map((box) => box.dataset.sample)"
        )
        self.press(key)
        self.page.wait_for_function(
            "(name) => document.querySelector('article.group')?.dataset.bulk !== name", arg=group
        )
        return dict.fromkeys(labeled, group)

    def go_to(self, title):
        """Walk to another page's link by keyboard, and follow it."""
        self.saved()
        for _ in range(99):
            self.press("Shift+Tab")
            if self.page.evaluate("document.activeElement.textContent") == title:
                break
        with self.page.expect_navigation():
            self.press("Enter")
        self.wait("article.item, #empty:not([hidden])")

    def shoot(self, name):
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def violations(self):
        found = Axe().run(self.page).response["violations"]
        return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]

    def hit(self):
        """Whether any of the attacks ran."""
        return self.page.evaluate("'hit' in window")


@contextmanager
def at_desk(browser, address, name, path="/", **context):
    desk = LeaseManager(browser, address, name, path, **context)
    try:
        yield desk
        assert desk.errors == []
        assert not desk.hit()
    finally:
        desk.context.close()


def mine(world, name):
    return [each for each in world.store.answers("tiny", 2) if each.annotator == name]


def test_sixty_items_are_labeled_by_keyboard_alone_beside_somebody_else(served, chromium):
    world, address = served
    with (
        at_desk(chromium, address, "annotator") as desk,
        at_desk(chromium, address, "reviewer") as other,
    ):
        assert desk.violations() == []
        desk.shoot("text")
        keys = ["1", "2", "Enter", "1", "2", "Enter", "1", "1"]
        pressed = {desk.label(key): key for key in keys}
        desk.press("u", "Backspace")
        assert desk.item == list(pressed)[-2]
        pressed[desk.label("2")] = "2"
        desk.press("s")
        desk.wait("dialog#skip[open]")
        assert desk.violations() == []
        desk.shoot("skip")
        pressed[desk.label("2")] = "skip"
        heartbeat = desk.item
        desk.press("n")
        desk.wait("dialog#note[open]")
        desk.page.keyboard.type("1 of these <b>is</b> odd")
        desk.press("Control+Enter")
        desk.wait("text=Note saved.")
        theirs = []
        for i in range(12):
            theirs.append(other.label("1"))
            pressed[desk.label(str(i % 2 + 1))] = str(i % 2 + 1)
        desk.shoot("image")
        other.shoot("other")
        desk.go_to("Groups")
        assert desk.violations() == []
        desk.shoot("group")
        grouped = desk.label_group("2") | desk.label_group("2")
        pressed |= dict.fromkeys(grouped, "2")
        desk.go_to("Label")
        while len(pressed) < 60:
            pressed[desk.label("1")] = "1"
        desk.shoot("sixty")
        for each in (desk, other):
            each.saved()
    answers = mine(world, "annotator")
    assert len(answers) == 60
    said = {str(each.sample_id): each for each in answers}
    expected = {item: meant(world, item, key) for item, key in pressed.items()}
    assert {item: each.label for item, each in said.items()} == expected
    assert [each.reason for each in answers if each.label is None] == ["no label fits"]
    assert {item: each.bulk for item, each in said.items() if each.bulk} == grouped
    assert len({each.task for each in answers}) == 2
    assert all(each.seconds is not None and each.guideline for each in answers)
    assert [str(each.sample_id) for each in mine(world, "reviewer")] == theirs
    assert not said.keys() & set(theirs)
    (note,) = world.store.events("note", "tiny")
    assert (str(note.sample_id), note.reason) == (heartbeat, "1 of these <b>is</b> odd")


def meant(world, item, key):
    """Return the label that a key stands for, None for a skip."""
    task = "mood" if int(item) < ids(PICTURES, 2)[0] else "digits"
    if key == "Enter":
        return world.store.question(("tiny", task, int(item))).payload["predicted"]
    return None if key == "skip" else CLASSES[task][int(key) - 1]


def test_a_reload_loses_nothing_and_what_was_before_it_can_be_taken_back(served, chromium):
    world, address = served
    with at_desk(chromium, address, "reviewer") as desk:
        for key in ("1", "2", "1"):
            desk.label(key)
        before = desk.item
        desk.saved()
        desk.page.reload()
        desk.wait("article.item")
        assert desk.item == before
        desk.press("u")  # nothing of before the reload is on this page: the server knows
        desk.next_after(before)
        desk.saved()
    assert len(mine(world, "reviewer")) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_and_all_pages_are_accessible(served, chromium, scheme):
    _, address = served
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme, "has_touch": True}
    with at_desk(chromium, address, "admin", **phone) as desk:
        for path in ("/", "/groups", "/review", "/admin"):
            desk.page.goto(f"{address}{path}")
            desk.wait("article.item, #empty:not([hidden]), .admin")
            width = desk.page.evaluate("document.documentElement.scrollWidth")
            assert (path, width, desk.violations()) == (path, 390, [])
        item = desk.page.goto(address) and desk.wait("article.item") and desk.item
        desk.page.locator(".choice").first.tap()
        desk.next_after(item)
        desk.saved()


def test_the_first_choice_comes_before_the_suggestion_where_that_is_asked(tmp_path, chromium):
    world = World(tmp_path, suggestion="after_first_choice")
    with (
        closing(world.store),
        serving(world) as address,
        at_desk(chromium, address, "annotator") as desk,
    ):
        item = desk.item
        assert not desk.page.locator("svg.share").first.is_visible()
        desk.press("Enter")
        desk.press("1")
        assert desk.page.locator("svg.share").first.is_visible()
        assert desk.item == item
        desk.press("2")
        desk.next_after(item)
        desk.saved()
        (answer,) = world.store.answers("tiny", 2)
        assert (str(answer.sample_id), answer.label, answer.seen) == (item, "good", True)


def test_an_answer_that_the_network_loses_is_sent_again_and_kept_once(served, chromium):
    world, address = served
    with at_desk(chromium, address, "annotator") as desk:
        lost = []

        def lose(route):
            """Let the first request through, and its answer not."""
            if lost:
                route.continue_()
            else:
                lost.append(route.fetch())
                route.abort()

        desk.page.route("**/api/answers", lose)
        item = desk.item
        desk.press("1")
        desk.next_after(item)
        desk.wait("text=Everything is saved.")
        desk.saved()
        assert [str(each.sample_id) for each in world.store.answers("tiny", 2)] == [item]
