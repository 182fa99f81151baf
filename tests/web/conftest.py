import shutil
from contextlib import closing

import pytest
from argon2 import PasswordHasher
from sqlalchemy import insert
from starlette.testclient import TestClient

from tests.web.worlds import PASSWORD, ask, write_world
from umc_ray.annotation.schema import ACCOUNTS
from umc_ray.web.app import create_app
from umc_ray.web.site import Site

HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def add_account(store, role):
    """Add an account named like its role; its password is hashed cheaply, and only once."""
    known = {"name": role, "role": role, "password": HASH, "active": True, "created_at": 0.0}
    with store.writing() as connection:
        connection.execute(insert(ACCOUNTS), known)


class World:
    """A site with an account of each role, named like it."""

    def __init__(self, folder, votes=1, **annotation):
        self.run = ask(write_world(folder, **annotation), votes)
        self.store = self.run.store
        self.site = Site(self.run)
        self.app = create_app(self.site)
        self.tokens = {}
        for role in ("annotator", "reviewer", "admin"):
            add_account(self.store, role)
            self.tokens[role] = self.site.accounts.create_key(role, "token")

    def client(self, role=None):
        """Return a program of a role, or a stranger."""
        headers = {} if role is None else {"authorization": f"Bearer {self.tokens[role]}"}
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    with closing(world.store):
        yield world


@pytest.fixture(scope="module")
def still_world(tmp_path_factory):
    """One for tests that change nothing in it that others look at."""
    world = World(tmp_path_factory.mktemp("still"))
    with closing(world.store):
        yield world


@pytest.fixture(scope="module")  # Playwright's event loop runs in this thread until it is closed
def chromium():
    """Debian's browser: Playwright's own cannot be had everywhere."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()
