from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from umc_ray.annotation.leases import LeaseManager
from umc_ray.annotation.recorder import Recorder
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import StoreError

PEOPLE = ("ann", "bob", "cyd", "dan", "eve", "fay")
ASKED = 20


def answer(sample_id, annotator):
    return Answer("camp", "tone", "mail", sample_id, annotator, "good", 1)


class BlockedStore:
    """A store that counts the answers of each transaction and can fail."""

    def __init__(self, store, error=None):
        self.store, self.error, self.groups = store, error, []

    def record(self, answers, client_keys, asked_only):
        self.groups.append(len(answers))
        if self.error:
            raise self.error
        return self.store.record(answers, client_keys, asked_only)


def record_at_once(recorder, answers):
    """Queue all answers before the first is written; return the exception of each request."""
    ready = Event()
    recorder._writer.submit(ready.wait)
    calls = [recorder.record([each], [f"{each.annotator}{each.sample_id}"]) for each in answers]
    ready.set()
    return [call.exception() for call in calls]


@pytest.fixture
def asked(store):
    store.submit([Question("camp", 1, "tone", "mail", i, len(PEOPLE)) for i in range(ASKED)])
    for name in PEOPLE:
        LeaseManager(store, "camp", name).claim(ASKED)
    return store


def test_queued_answers_are_written_in_one_transaction(asked):
    blocked = BlockedStore(asked)
    answers = [answer(i, "ann") for i in range(10)]
    assert record_at_once(Recorder(blocked), answers) == [None] * 10
    assert blocked.groups == [10]
    assert len(asked.answers("camp")) == 10


def test_a_rejected_answer_does_not_affect_others(asked):
    answers = [answer(1, "ann"), answer(99, "bob"), answer(2, "cyd")]
    first, refused, last = record_at_once(Recorder(asked), answers)
    assert first is last is None
    assert isinstance(refused, StoreError)
    assert {kept.sample_id for kept in asked.answers("camp")} == {1, 2}


def test_a_request_with_one_rejected_answer_stores_none(asked):
    recorder = Recorder(asked)
    both = recorder.record([answer(1, "ann"), answer(99, "ann")], ["ann1", "ann99"])
    assert isinstance(both.exception(), StoreError)
    assert asked.answers("camp") == []


def test_a_canceled_request_does_not_block_others(asked):
    recorder = Recorder(asked)
    ready = Event()
    recorder._writer.submit(ready.wait)
    gone, there = (recorder.record([answer(i, "ann")], [f"ann{i}"]) for i in (1, 2))
    assert gone.cancel()
    ready.set()
    there.result()
    assert [kept.sample_id for kept in asked.answers("camp")] == [2]


def test_a_database_error_reaches_every_caller(asked):
    broken = OSError("disk full")
    answers = [answer(i, "ann") for i in range(5)]
    assert record_at_once(Recorder(BlockedStore(asked, broken)), answers) == [broken] * 5


def test_concurrent_requests_lose_no_answer(asked):
    recorder = Recorder(asked)

    def work(name):
        for i in range(ASKED):
            recorder.record([answer(i, name)], [f"{name}{i}"]).result()

    with ThreadPoolExecutor(len(PEOPLE)) as people:
        list(people.map(work, PEOPLE))
    assert asked.progress("camp", 1) == (ASKED, ASKED)
