"""The page in a real browser, by keyboard: what it shows, what it keeps, what it never runs."""

import threading
import time
from contextlib import closing, contextmanager

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe

from tests.web.conftest import World
from tests.web.worlds import PASSWORD, PICTURES, ids

pytestmark = pytest.mark.browser

WAIT_MS = 30_000
"""For a machine that does other things, too; nothing waits as long where it is free."""


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


class Desk:
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

    def violations(self):
        found = Axe().run(self.page).response["violations"]
        return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]

    def hit(self):
        """Whether any of the attacks ran."""
        return self.page.evaluate("'hit' in window")


@contextmanager
def at_desk(browser, address, name, path="/", **context):
    desk = Desk(browser, address, name, path, **context)
    try:
        yield desk
        assert desk.errors == []
        assert not desk.hit()
    finally:
        desk.context.close()


def mine(world, name):
    return [each for each in world.store.answers("tiny", 2) if each.annotator == name]


def test_items_are_labeled_taken_back_skipped_and_flagged_by_keyboard_alone(served, chromium):
    world, address = served
    with at_desk(chromium, address, "annotator") as desk:
        assert desk.violations() == []
        shown = []
        for key in ("1", "2", "Enter", "1", "2", "Enter", "1", "1"):
            shown.append(desk.item)
            desk.press(key)
            desk.next_after(shown[-1])
        desk.press("u", "Backspace")
        assert desk.item == shown[-2]
        desk.press("2")
        desk.next_after(shown[-2])
        assert desk.item == shown[-1]
        desk.press("s")
        desk.wait("dialog#skip[open]")
        assert desk.violations() == []
        desk.press("2")
        desk.next_after(shown[-1])
        noted = desk.item
        desk.press("n")
        desk.wait("dialog#note[open]")
        desk.page.keyboard.type("1 of these <b>is</b> odd")
        desk.press("Control+Enter")
        desk.wait("text=Noted.")
        desk.saved()
        assert desk.item == noted
    answers = mine(world, "annotator")
    assert [str(each.sample_id) for each in answers] == shown
    predicted = {q.sample_id: q.payload["predicted"] for q in world.store.questions("tiny", 2)}
    first = ["bad" if int(i) < ids(PICTURES, 2)[0] else "round" for i in shown]
    second = ["good" if int(i) < ids(PICTURES, 2)[0] else "square" for i in shown]
    expected = [first[0], second[1], predicted[int(shown[2])], first[3], second[4]]
    expected += [predicted[int(shown[5])], second[6], None]
    assert [each.label for each in answers] == expected
    assert answers[-1].reason == "no label fits"
    assert all(each.seen and each.seconds is not None and each.guideline for each in answers)
    (note,) = world.store.events("note", "tiny")
    assert (str(note.sample_id), note.reason) == (noted, "1 of these <b>is</b> odd")


def test_two_people_never_get_the_same_sample_and_a_reload_loses_nothing(served, chromium):
    world, address = served
    with (
        at_desk(chromium, address, "reviewer") as rev,
        at_desk(chromium, address, "annotator") as ann,
    ):
        for _ in range(3):
            for desk in (rev, ann):
                item = desk.item
                desk.press("1")
                desk.next_after(item)
        before = rev.item
        rev.saved()
        rev.page.reload()
        rev.wait("article.item")
        assert rev.item == before
        rev.press("u")  # nothing of before the reload is on this page: the server knows
        rev.next_after(before)
        rev.saved()
        ann.saved()
    answered = [each.sample_id for each in world.store.answers("tiny", 2)]
    assert len(answered) == len(set(answered))
    assert len(mine(world, "reviewer")) == 2


def test_a_group_is_labeled_at_once_without_what_was_taken_out(served, chromium):
    world, address = served
    with at_desk(chromium, address, "admin", "/groups") as desk:
        assert desk.violations() == []
        group = desk.page.get_attribute("article.group", "data-bulk")
        total = desk.page.locator(".grid input").count()
        checked = desk.page.locator(".grid input:checked").count()
        desk.press("ArrowRight", "ArrowRight", "Space")
        out = desk.page.evaluate("document.activeElement.dataset.sample")
        kept = desk.page.locator(".grid input:checked").count()
        assert abs(kept - checked) == 1
        desk.press("2")
        desk.page.wait_for_function(
            "(name) => document.querySelector('article.group')?.dataset.bulk !== name", arg=group
        )
        desk.saved()
    answers = mine(world, "admin")
    assert total >= len(answers) == kept > 0
    assert {each.bulk for each in answers} == {group}
    assert out not in {str(each.sample_id) for each in answers} or kept > checked


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
