from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from umc_ray.annotation.recorder import Recorder
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import StoreError

PEOPLE = 6
ASKED = 20


def answer(sample_id, annotator):
    return Answer("camp", "tone", "mail", sample_id, annotator, "good", 1)


class RequestLimits:
    """A store that lets nothing through until the test has queued what it wants to queue."""

    def __init__(self, store, error=None):
        self.store, self.error, self.groups = store, error, []

    def record(self, answers, client_keys):
        self.groups.append(len(answers))
        if self.error:
            raise self.error
        return self.store.record(answers, client_keys)


def record_at_once(recorder, answers):
    """Queue all answers before the first is written; return what each caller got."""
    ready = Event()
    recorder._writer.submit(ready.wait)
    calls = [recorder.record([each], [f"{each.annotator}{each.sample_id}"]) for each in answers]
    ready.set()
    return [call.exception() for call in calls]


@pytest.fixture
def asked(store):
    store.submit([Question("camp", 1, "tone", "mail", i, PEOPLE) for i in range(ASKED)])
    return store


def test_answers_that_wait_for_each_other_are_one_transaction(asked):
    gate = RequestLimits(asked)
    answers = [answer(i, "ann") for i in range(10)]
    assert record_at_once(Recorder(gate), answers) == [None] * 10
    assert gate.groups == [10]
    assert len(asked.answers("camp")) == 10


def test_a_refused_answer_does_not_take_others_with_it(asked):
    answers = [answer(1, "ann"), answer(99, "bob"), answer(2, "cyd")]
    first, refused, last = record_at_once(Recorder(asked), answers)
    assert first is last is None
    assert isinstance(refused, StoreError)
    assert {kept.sample_id for kept in asked.answers("camp")} == {1, 2}


def test_of_answers_that_belong_together_none_is_kept_if_one_is_refused(asked):
    recorder = Recorder(asked)
    both = recorder.record([answer(1, "ann"), answer(99, "ann")], ["ann1", "ann99"])
    assert isinstance(both.exception(), StoreError)
    assert asked.answers("camp") == []


def test_who_no_longer_waits_does_not_keep_others_from_their_answer(asked):
    recorder = Recorder(asked)
    ready = Event()
    recorder._writer.submit(ready.wait)
    gone, there = (recorder.record([answer(i, "ann")], [f"ann{i}"]) for i in (1, 2))
    assert gone.cancel()
    ready.set()
    there.result()
    assert [kept.sample_id for kept in asked.answers("camp")] == [2]


def test_a_broken_database_is_heard_of_by_everyone_who_waits(asked):
    broken = OSError("disk full")
    answers = [answer(i, "ann") for i in range(5)]
    assert record_at_once(Recorder(RequestLimits(asked, broken)), answers) == [broken] * 5


def test_many_people_answer_without_a_word_being_lost(asked):
    recorder = Recorder(asked)

    def work(name):
        for i in range(ASKED):
            recorder.record([answer(i, name)], [f"{name}{i}"]).result()

    with ThreadPoolExecutor(PEOPLE) as people:
        list(people.map(work, [f"p{i}" for i in range(PEOPLE)]))
    assert asked.progress("camp", 1) == (ASKED, ASKED)
