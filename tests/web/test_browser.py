"""End-to-end tests of the page in a real browser, by keyboard."""

import threading
import time
from contextlib import closing, contextmanager

import pyarrow as pa
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe

from tests.finished import build_run
from tests.tiny import ROOT
from tests.web.conftest import World
from tests.web.worlds import CLASSES, PASSWORD, PICTURES, TEXT, TOPICS, answer, ids
from umc_ray.annotation.review import decisions
from umc_ray.campaign.run import Run
from umc_ray.config.annotation import AnnotationConfig
from umc_ray.records import POOL, Part
from umc_ray.report.report import write_report
from umc_ray.tasks.forms import NONE

pytestmark = pytest.mark.browser

WAIT_MS = 30_000
"""Generous, for machines under load."""

SCREENSHOTS = ROOT / "build" / "screenshots"
"""Screenshots for manual inspection."""


@contextmanager
def serving(world):
    """Serve on a free port, in a thread of this process; yield the address."""
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
    """A world whose texts are injection attempts, and its address."""
    guide = tmp_path / "guide.md"
    guide.write_text("# Mood\n\n- **good**: the writer is content\n")
    world = World(tmp_path, guidelines=str(guide))
    with closing(world.store), serving(world) as address:
        yield world, address


class Annotator:
    """An annotator with a browser."""

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
        """Id of the sample on the screen."""
        return self.page.get_attribute("article.item", "data-sample")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self):
        """Wait until the outbox is empty."""
        self.page.wait_for_function(
            "() => !Object.keys(localStorage).some((key) => key.includes('/outbox/'))"
        )

    def next_after(self, item):
        """Wait until another item is shown."""
        self.page.wait_for_function(
            "(id) => document.querySelector('article.item')?.dataset.sample !== id", arg=item
        )

    def label(self, key):
        """Press a label key once the item's image is loaded; return the item."""
        item = self.item
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.item .picture img')].every("
            "(image) => image.complete && image.naturalWidth > 0)"
        )
        self.press(key)
        self.next_after(item)
        return item

    def label_group(self, key):
        """Toggle the second sample of a group and label the selected ones; return those."""
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
        """Follow the link to another page by keyboard."""
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

    def violations(self, context=None, rules=None):
        """What axe has to say of the page, or of an element in it, by all rules or some."""
        options = {"runOnly": {"type": "rule", "values": rules}} if rules else None
        violations = Axe().run(self.page, context, options).response["violations"]
        return [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations]

    def hit(self):
        """Return whether any injected script ran."""
        return self.page.evaluate("'hit' in window")


@contextmanager
def annotating(browser, address, name, path="/", **context):
    user = Annotator(browser, address, name, path, **context)
    try:
        yield user
        assert user.errors == []
        assert not user.hit()
    finally:
        user.context.close()


def answers_of(world, name):
    return [each for each in world.store.answers("tiny", 2) if each.annotator == name]


def test_two_people_label_at_once_by_keyboard_alone(served, chromium):
    world, address = served
    with (
        annotating(chromium, address, "annotator") as user,
        annotating(chromium, address, "reviewer") as other,
    ):
        assert user.violations() == []
        user.shoot("text")
        keys = ["1", "2", "Enter", "1", "2", "Enter", "1", "1"]
        pressed = {user.label(key): key for key in keys}
        user.press("u", "Backspace")
        assert user.item == list(pressed)[-2]
        pressed[user.label("2")] = "2"
        user.press("s")
        user.wait("dialog#skip[open]")
        assert user.violations() == []
        user.shoot("skip")
        pressed[user.label("2")] = "skip"
        noted = user.item
        user.press("n")
        user.wait("dialog#note[open]")
        user.page.keyboard.type("1 of these <b>is</b>")
        user.press("Escape", "n")  # what was typed is still there
        user.wait("dialog#note[open]")
        user.press("End")
        user.page.keyboard.type(" odd")
        user.press("Control+Enter")
        user.wait("text=Note saved.")
        other_items = []
        for i in range(12):
            other_items.append(other.label("1"))
            pressed[user.label(str(i % 2 + 1))] = str(i % 2 + 1)
        user.shoot("image")
        other.shoot("other")
        user.go_to("Groups")
        assert user.violations() == []
        user.shoot("group")
        grouped = user.label_group("2") | user.label_group("2")
        pressed |= dict.fromkeys(grouped, "2")
        user.go_to("Label")
        while len(pressed) < 60:
            pressed[user.label("1")] = "1"
        user.shoot("sixty")
        for each in (user, other):
            each.saved()
    answers = answers_of(world, "annotator")
    assert len(answers) == 60
    by_item = {str(each.sample_id): each for each in answers}
    expected = {item: meant(world, item, key) for item, key in pressed.items()}
    assert {item: each.label for item, each in by_item.items()} == expected
    assert [each.reason for each in answers if each.label is None] == ["no label fits"]
    assert {item: each.bulk for item, each in by_item.items() if each.bulk} == grouped
    assert len({each.task for each in answers}) == 2
    assert all(each.seconds is not None and each.guideline for each in answers)
    assert [str(each.sample_id) for each in answers_of(world, "reviewer")] == other_items
    assert not by_item.keys() & set(other_items)
    (note,) = world.store.events("note", "tiny")
    assert (str(note.sample_id), note.reason) == (noted, "1 of these <b>is</b> odd")


def meant(world, item, key):
    """Return the label that a key selects, None for a skip."""
    task = "mood" if int(item) < ids(PICTURES, 2)[0] else "digits"
    if key == "Enter":
        return world.store.question(("tiny", task, int(item))).payload.predicted
    return None if key == "skip" else CLASSES[task][int(key) - 1]


def test_a_reload_loses_nothing_and_undo_reaches_before_it(served, chromium):
    world, address = served
    with annotating(chromium, address, "reviewer") as user:
        for key in ("1", "2", "1"):
            user.label(key)
        before = user.item
        user.saved()
        user.page.reload()
        user.wait("article.item")
        assert user.item == before
        user.press("u")  # the page has no history after the reload, so it asks the server
        user.next_after(before)
        user.saved()
    assert len(answers_of(world, "reviewer")) == 2


WIDTHS = (390, 768, 1366)
"""Of a phone, a tablet and a desk; dialogs are as wide on the last two."""


def with_long_texts(world):
    """Give the first questions texts in which no browser finds a place to break a line."""
    key = Part("pool", TEXT, "part-00000", 0).key("pool")
    rows = world.run.storage.read_table(key).to_pylist()
    asked = ids(TEXT, 2)[:3]
    rows = [
        {**row, **({"text": "w" * 45_000} if row["sample_id"] in asked else {})} for row in rows
    ]
    world.run.storage.write_table(key, pa.Table.from_pylist(rows, schema=POOL))


def check_layout(user, where, widths=WIDTHS, context=None):
    """Nothing is cut off and axe finds no fault on a phone, a tablet and a desk, by day and night.

    Colors are the same at all widths, so that they are looked at by night where most is shown.
    """
    for width in widths:
        user.page.set_viewport_size({"width": width, "height": 844})
        wide = user.page.evaluate("document.documentElement.scrollWidth")
        assert (where, wide, user.violations(context)) == (where, width, [])
    user.page.emulate_media(color_scheme="dark")
    assert (where, user.violations(context, ["color-contrast"])) == (where, [])
    if context is None:
        user.shoot(f"dark_{where}")
    user.page.emulate_media(color_scheme="light")
    user.page.set_viewport_size({"width": 390, "height": 844})
    if context is None:
        user.shoot(f"phone_{where}")


def test_on_any_screen_nothing_is_cut_off_and_all_pages_are_accessible(served, chromium):
    world, address = served
    with_long_texts(world)
    first = ids(TEXT, 2)[0]
    world.store.raise_votes([world.store.question(("tiny", "mood", first))], 2)
    world.store.record([answer(first, name, name) for name in ("good", "bad")], ["a", "b"])
    world.store.record_as("note", [answer(first, "good", None, reason="n" * 2000)], ["n"])
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    with annotating(chromium, address, "admin", **phone) as user:
        item = user.label("1")
        user.saved()
        label = f"/?item=mood/{ids(TEXT, 2)[1]}"
        for path in (label, "/groups", "/review", "/questions", "/history", "/admin", "/account"):
            user.page.goto(f"{address}{path}")
            user.wait("article.item, #empty:not([hidden]), .admin")
            where = "label" if path == label else path.strip("/")
            if where in ("label", "review"):
                assert user.page.locator(".text").first.inner_text() == "w" * 45_000
            check_layout(user, where)
            names = user.page.eval_on_selector_all("dialog", "(all) => all.map((one) => one.id)")
            for name in {"label": names, "review": ["skip"]}.get(where, ()):
                user.page.evaluate("(id) => document.getElementById(id).showModal()", name)
                check_layout(user, f"{where}_{name}", (390, 1366), f"dialog#{name}")
                user.page.evaluate("(id) => document.getElementById(id).close()", name)
        item = user.page.goto(address) and user.wait("article.item") and user.item
        user.page.locator(".choice").first.tap()
        user.next_after(item)
        user.saved()
        assert user.page.evaluate("document.documentElement.scrollWidth") == 390


def test_several_labels_fit_on_a_phone(tmp_path, chromium):
    world = World(tmp_path, domain_keys=(TOPICS,))
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator", **phone) as user,
    ):
        given = {}
        for taps in ((0, 2), (1,), ()):
            item = user.item
            for each in taps:
                user.page.locator(".choice").nth(each).tap()
            given[item] = [CLASSES["topics"][each] for each in taps]
            heights = user.page.eval_on_selector_all(
                ".choice", "(choices) => choices.map((each) => each.offsetHeight)"
            )
            assert max(heights) < 60  # no label is broken into letters
            assert (user.page.evaluate("document.documentElement.scrollWidth")) == 390
            assert user.violations() == []
            user.shoot(f"several_labels_phone_{len(given)}")
            user.page.locator(".confirm").tap()
            user.next_after(item)
        user.saved()
    found = {str(each.sample_id): each.label for each in answers_of(world, "annotator")}
    assert found == {item: " | ".join(labels) or NONE for item, labels in given.items()}


def test_the_suggestion_is_concealed_until_the_first_choice_if_so_configured(tmp_path, chromium):
    world = World(tmp_path, suggestion="after_first_choice")
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator") as user,
    ):
        item = user.item
        assert not user.page.locator("svg.share").first.is_visible()
        user.press("Enter")
        user.press("1")
        assert user.page.locator("svg.share").first.is_visible()
        assert user.item == item
        user.press("2")
        user.next_after(item)
        user.saved()
        (answer,) = world.store.answers("tiny", 2)
        assert (str(answer.sample_id), answer.label, answer.seen) == (item, "good", True)


def test_an_answer_whose_response_is_lost_is_retried_and_stored_once(served, chromium):
    world, address = served
    with annotating(chromium, address, "annotator") as user:
        lost = []

        def lose(route):
            """Deliver the first request but drop its response."""
            if lost:
                route.continue_()
            else:
                lost.append(route.fetch())
                route.abort()

        user.page.route("**/api/answers", lose)
        item = user.item
        user.press("1")
        user.next_after(item)
        user.wait("text=Everything is saved.")
        user.saved()
        assert [str(each.sample_id) for each in world.store.answers("tiny", 2)] == [item]


def test_sets_of_labels_are_given_by_keyboard_alone(tmp_path, chromium):
    world = World(tmp_path, votes=1, domain_keys=(TOPICS,))
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "reviewer") as user,
    ):
        assert user.violations() == []
        given = {user.label("Enter"): NONE}  # the suggestion checks nothing
        user.press("3", "1", "2", "2")
        assert user.page.inner_text(".confirm span") == "billing, praise"
        assert user.violations() == []
        user.shoot("several_labels")
        wrong = user.label("Enter")
        user.press("u")
        assert user.item == wrong
        user.press("1")
        given[user.label("Enter")] = "praise"
        user.page.locator(".choice").nth(1).click()
        user.press("1", "Space")  # the box that was clicked has the focus: Space unchecks it
        user.page.locator(".confirm").focus()
        given[user.label("Enter")] = "billing"
        user.press("s")
        user.wait("dialog#skip[open]")
        given[user.label("2")] = None
        user.go_to("Groups")
        assert user.violations() == []
        user.shoot("several_labels_group")
        user.press("2", "3")
        grouped = user.label_group("Enter")
        given |= dict.fromkeys(grouped, "delivery | praise")
        user.saved()
    answers = answers_of(world, "reviewer")
    assert {str(each.sample_id): each.label for each in answers} == given
    assert grouped


def test_reviewers_decide_on_sets(tmp_path, chromium):
    world = World(tmp_path, votes=2, domain_keys=(TOPICS,))
    disputed = ids(TOPICS, 2)[0]
    votes = [
        answer(disputed, name, label, TOPICS) for name, label in (("a", NONE), ("b", "praise"))
    ]
    world.store.record(votes, ["a", "b"])
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "reviewer", "/review") as user,
    ):
        assert user.violations() == []
        user.press("1", "3", "Enter")
        user.wait("#empty:not([hidden])")
        user.saved()
        assert [each.label for each in decisions(world.store, "tiny").values()] == [
            "billing | praise"
        ]


def test_a_concealed_suggestion_is_revealed_when_checked_labels_are_confirmed(tmp_path, chromium):
    world = World(tmp_path, domain_keys=(TOPICS,), suggestion="after_first_choice")
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator") as user,
    ):
        item = user.item
        user.press("1")
        assert not user.page.locator("svg.share").first.is_visible()
        user.press("Enter")
        assert user.page.locator("svg.share").first.is_visible()
        assert user.item == item
        user.press("2", "Enter")
        user.next_after(item)
        user.saved()
        assert [each.label for each in world.store.answers("tiny", 2)] == ["billing | delivery"]


def test_an_answer_is_found_in_the_history_and_changed(served, chromium):
    world, address = served
    with annotating(chromium, address, "annotator") as user:
        first = user.label("1")
        second = user.label("1")
        user.saved()
        user.page.goto(f"{address}/history")
        user.shoot("history")
        assert user.violations() == []
        user.page.get_by_role("link", name="Change the answer to sample 2").click()
        user.wait("article.item")
        assert user.item == first
        user.page.wait_for_function(
            "() => document.getElementById('speed').textContent.includes('2 by you today')"
        )
        user.press("2")
        user.next_after(first)
        user.saved()
        assert user.item not in (first, second)
        assert "item=" not in user.page.url
    found = {str(each.sample_id): each for each in answers_of(world, "annotator")}
    chosen = {item: CLASSES[each.task].index(each.label) for item, each in found.items()}
    assert chosen == {first: 1, second: 0}


def test_who_is_invited_chooses_a_password_and_logs_in(served, chromium):
    world, address = served
    key = world.site.accounts.invite("eve", "annotator")
    page = chromium.new_page()
    page.goto(f"{address}/invitation/{key}")
    page.screenshot(path=SCREENSHOTS / "invitation.png")
    for field in ("password", "again"):
        page.fill(f"[name={field}]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("[name=name]")
    page.close()
    with annotating(chromium, address, "eve") as user:
        assert user.item


def test_reviewers_take_decisions_back_ask_others_and_see_different_cases(tmp_path, chromium):
    world = World(tmp_path, votes=2)
    texts = ids(TEXT, 2)[:4]
    votes = [answer(i, name, label) for i in texts for name, label in (("a", "bad"), ("b", "good"))]
    world.store.record(votes, [f"{each.sample_id}{each.annotator}" for each in votes])
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "reviewer", path="/review") as user,
    ):
        user.wait("article.item")
        first = user.label("1")
        user.press("u")
        assert user.item == first
        user.shoot("review")
        user.press("s", "1")  # with a reason
        user.next_after(first)
        second = user.item
        user.press("s", "4")
        user.next_after(second)
        user.saved()
        with annotating(chromium, address, "admin", path="/review") as other:
            assert other.page.locator("article.item").count() == 0
        user.page.goto(f"{address}/questions?state=decided")
        user.shoot("questions")
        assert user.violations() == []
        user.page.get_by_role("link", name="Open question 1").click()
        user.wait("article.item")
        assert user.item == first
        user.press("2")
        user.next_after(first)
        user.saved()
    decided = world.store.events("review", "tiny")
    found = [(str(each.sample_id), each.label, each.reason) for each in decided]
    assert found == [(first, None, "unclear"), (first, "good", None)]
    assert world.store.question(("tiny", "mood", int(second))).votes == 3


def test_one_key_splits_a_group_by_what_is_predicted(tmp_path, chromium, monkeypatch):
    def alternating(domain_key, i):  # by pairs, where the embeddings alternate by samples
        return CLASSES[domain_key.task][i // 2 % 2]

    monkeypatch.setattr("tests.web.worlds.predicted", alternating)
    world = World(tmp_path)
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator", path="/groups") as user,
    ):
        user.wait("article.group")
        checked = ".grid input:checked"
        predicted = "(boxes) => [...new Set(boxes.map((box) => box.dataset.predicted))]"
        before = user.page.eval_on_selector_all(checked, predicted)
        all_of_them = user.page.eval_on_selector_all(".grid input", predicted)
        assert len(before) == 1
        assert len(all_of_them) == 2
        user.shoot("group_predictions")
        user.press("x")
        after = user.page.eval_on_selector_all(checked, predicted)
        assert [*before, *after] in (all_of_them, all_of_them[::-1])


def test_a_report_fits_on_a_phone_and_its_tables_scroll(tmp_path, chromium):
    run = build_run(str(tmp_path), rounds=1)
    by_people = AnnotationConfig(backend="web")
    report = write_report(Run(run.config.model_copy(update={"annotation": by_people})))
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"file://{report}")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.eval_on_selector_all(
        "table", "(all) => all.every((one) => one.closest('.scroll') !== null)"
    )
    page.locator("#annotators").scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / "phone_report.png")
    page.close()
