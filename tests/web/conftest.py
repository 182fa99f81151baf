import shutil
from contextlib import closing

import pytest
import yaml
from argon2 import PasswordHasher
from sqlalchemy import insert
from starlette.testclient import TestClient

from tests.web.worlds import PASSWORD, PICTURES, TEXT, ask, write_world
from umc_ray.annotation.leases import LeaseManager
from umc_ray.annotation.schema import ACCOUNTS
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.web.app import create_app
from umc_ray.web.site import Site

HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def add_account(store, role):
    """Add an account named like its role, with a precomputed cheap password hash."""
    row = {"name": role, "role": role, "password": HASH, "active": True, "created_at": 0.0}
    with store.writing() as connection:
        connection.execute(insert(ACCOUNTS), row)


class World:
    """A site with one account per role, named like the role."""

    def __init__(self, folder, votes=1, domain_keys=(TEXT, PICTURES), **annotation):
        self.serve(ask(write_world(folder, domain_keys, **annotation), votes))

    def serve(self, run):
        self.run, self.store = run, run.store
        self.site = Site(self.run)
        self.app = create_app(self.site)
        self.tokens = {}
        for role in ("annotator", "reviewer", "admin"):
            add_account(self.store, role)
            self.tokens[role] = self.site.accounts.create_key(role, "token")

    def give(self, role, count):
        """Lease the next questions to the account of a role."""
        return LeaseManager(self.store, "tiny", role).claim(count)

    def labels(self):
        return {each.sample_id: each.label for each in self.store.answers("tiny")}

    def client(self, role=None):
        """Return an API client with a role's token, or an anonymous one."""
        headers = {} if role is None else {"authorization": f"Bearer {self.tokens[role]}"}
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)


class OneTask(World):
    """A site with questions of one task, of any kind, that the tests make themselves."""

    def __init__(self, folder, name, task, questions):
        values = {
            "name": "tiny",
            "storage": "runs",
            "tasks": {name: task},
            "budget": {"labels": 60, "per_round": len(questions)},
            "annotation": {"backend": "web", "suggestion": "show"},
        }
        (folder / "campaign.yaml").write_text(yaml.safe_dump(values))
        run = Run(load_campaign(folder / "campaign.yaml"))
        run.store.submit(questions)
        self.serve(run)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    with closing(world.store):
        yield world


@pytest.fixture(scope="module")
def still_world(tmp_path_factory):
    """A world shared by tests that do not change it."""
    world = World(tmp_path_factory.mktemp("still"))
    with closing(world.store):
        yield world


@pytest.fixture(scope="module")  # Playwright's event loop runs in this thread until it is closed
def chromium():
    """Debian's browser, because Playwright's own is not available everywhere."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
