"""Nothing is lost or stored twice: held keys, windows, no connection, another login."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.web.conftest import World
from tests.web.test_browser import annotating, answers_of, serving
from tests.web.worlds import PASSWORD
from umc_ray.web.accounts import Person

pytestmark = pytest.mark.browser

ON_SCREEN = 12
"""Items that a window shows or has fetched."""

SCRIPT = Path(__file__).with_name("outbox_failures.js").read_text()


@pytest.fixture
def served(tmp_path, chromium):
    world = World(tmp_path)
    with closing(world.store), serving(world) as address:
        yield world, address


def test_random_failures_lose_repeat_and_reorder_nothing(served, chromium):
    _, address = served
    page = chromium.new_page()
    page.goto(f"{address}/login")
    found = page.evaluate(SCRIPT, {"url": f"{address}/static/outbox.js", "seeds": 60})
    page.close()
    assert found == []


def test_a_held_key_is_one_answer(served, chromium):
    world, address = served
    with annotating(chromium, address, "annotator") as user:
        item = user.item
        for _ in range(9):
            user.page.keyboard.down("1")
        user.page.keyboard.up("1")
        user.next_after(item)
        second = user.item
        for _ in range(9):
            user.page.keyboard.down("s")
        user.page.keyboard.up("s")
        assert user.page.is_visible("dialog#skip")
        user.press("Escape")
        user.page.focus(".choice >> nth=0")
        for _ in range(9):
            user.page.keyboard.down("Enter")
        user.page.keyboard.up("Enter")
        user.next_after(second)
        user.saved()
        assert [str(each.sample_id) for each in answers_of(world, "annotator")] == [item, second]


def test_two_windows_without_connection_and_another_login_store_every_answer_once(served, chromium):
    world, address = served
    with annotating(chromium, address, "annotator") as user:
        first, given = user.page, {}
        second = user.context.new_page()
        second.goto(address)
        second.wait_for_selector("article.item")

        def label(page, key):
            user.page = page
            page.bring_to_front()
            given[user.label(key)] = key

        label(first, "1")
        label(second, "2")
        user.saved()
        user.context.set_offline(True)
        for page, key in ((first, "2"), (second, "1"), (first, "1")):
            label(page, key)
        first.wait_for_selector("text=3 answers not sent yet")
        assert len(world.store.answers("tiny", 2)) == 2
        user.context.set_offline(False)
        user.saved()
        second.close()

        user.context.clear_cookies()  # as after a log-out in another window
        user.page = first
        with first.expect_navigation():
            label(first, "1")
        assert "/login" in first.url
        first.fill("[name=name]", "annotator")
        first.fill("[name=password]", PASSWORD)
        user.press("Enter")
        user.wait("article.item")
        user.saved()
    found = {str(each.sample_id): each.label for each in answers_of(world, "annotator")}
    assert len(given) == 6
    assert found.keys() == given.keys()
    held = world.site.leases(Person("annotator", "annotator"), "tiny").held()
    assert len(held) <= ON_SCREEN  # those of the window that was closed are free
