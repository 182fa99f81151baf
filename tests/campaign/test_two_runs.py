"""Two runs of a campaign on two machines, in random turns, on a fake clock."""

import itertools
from contextlib import ExitStack, closing
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umc_ray.annotation.store import AnnotationStore, Question
from umc_ray.campaign import writer
from umc_ray.campaign.writer import FOLDER, Claim, check_claim
from umc_ray.errors import Busy, StoreError
from umc_ray.methods.bandit import ArmContext, Reward
from umc_ray.selection.allocator import BudgetAllocator, Memory
from umc_ray.storage import Storage

HOSTS = ("here", "there")
ARMS = [ArmContext("t/a", 0.3, remaining=500, pool=600, cost=1.0, accuracy=None)]
ACTIONS = st.lists(
    st.tuples(st.sampled_from(HOSTS), st.sampled_from(["step"] * 6 + ["kill", "sleep"])),
    min_size=20,
    max_size=60,
)


class World:
    """What both machines share, and a clock that only the test moves."""

    def __init__(self, folder, monkeypatch):
        self.storage = Storage(str(folder / "run"))
        self.store = AnnotationStore(f"sqlite:///{folder}/labels.db")
        self.now, self.host, self.held = 1000.0, HOSTS[0], {host: {} for host in HOSTS}
        self.credited, self.asked = [], []
        clock = SimpleNamespace(
            time=lambda: self.now, strftime=lambda *_: "", localtime=float, sleep=lambda _: None
        )
        monkeypatch.setattr(writer, "time", clock)
        monkeypatch.setattr(writer, "_place", lambda: self.host)
        monkeypatch.setattr(writer, "_started", lambda _: None)  # what is killed here is gone

    def turn(self, host):
        """Go on on a machine."""
        self.host = host
        writer._HELD.clear()
        writer._HELD.update(self.held[host])


def run(world, host):
    """Do what a run does, and give way between any two steps."""
    key = f"{FOLDER}/{host}-{next(NUMBERS)}/claim.json"
    claim = Claim("ann", host, 1, 0.0, since=world.now, seen=world.now, place=host)
    world.storage.write_record(key, claim)
    yield
    writer._check_others(world.storage, key)
    world.held[host] = {world.storage.root: key}
    world.turn(host)
    yield
    allocator = BudgetAllocator("ucb", "macro", 0.05, 7, world.storage)
    done = 0
    while True:
        done += 1
        for step in (_plan, _ask, _credit):
            check_claim(world.storage)
            world.storage.write_record(key, writer.replace(claim, seen=world.now))
            step(world, allocator, done)
            yield


def _plan(world, allocator, number):
    allocator.plan(number, ARMS, 10)


def _ask(world, allocator, number):
    if world.store.submit([Question("camp", number, "t", "a", number)]):
        world.asked.append(number)


def _credit(world, allocator, number):
    allocator.update(number, [Reward("t/a", 1.0, 10)])
    world.credited.append(number)


NUMBERS = itertools.count()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_one_writes_and_nothing_is_asked_twice_or_lost(tmp_path_factory, actions):
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        world = World(tmp_path_factory.mktemp("two"), monkeypatch)
        stack.enter_context(closing(world.store))
        stack.callback(writer._HELD.clear)
        running = {}
        for host, action in actions:
            world.turn(host)
            if action == "kill":
                running.pop(host, None)
                world.held[host] = {}
            elif action == "sleep":
                world.now += writer.LOST_AFTER_S + 1
            else:
                _step(world, running, host)
            world.now += 1
            assert len(_at_work(world)) <= 1
        assert sorted(world.asked) == sorted(set(world.asked))
        if world.storage.exists("bandit.json"):
            memory = world.storage.read_record("bandit.json", Memory)
            assert {*world.credited} == {*memory.credits}
            assert memory.state.step == len(memory.credits)


def _step(world, running, host):
    each = running.setdefault(host, run(world, host))
    try:
        next(each)
    except (Busy, StoreError):
        running.pop(host)
        world.held[host] = {}
        for key in world.storage.keys(FOLDER):  # it gives its claim back, if it is still its own
            if key.startswith(f"{FOLDER}/{host}-"):
                world.storage.delete(key.rsplit("/", 1)[0])


def _at_work(world):
    """The machines whose run would still store something."""
    keys = world.storage.keys(FOLDER)
    return [host for host, held in world.held.items() if {*held.values()} & {*keys}]
