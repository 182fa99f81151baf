import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from umc_ray.annotation.store import AnnotationStore, Answer, Payload, Question
from umc_ray.errors import StoreError

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from umc_ray.annotation.store import AnnotationStore, Answer
url, annotator, answers = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = AnnotationStore(url)
for i in range(answers):
    answer = Answer("camp", "tone", "mail", i % 50, annotator, "good", 1)
    store.record([answer], [f"{annotator}-{i}"])
    print(f"{annotator}-{i}", flush=True)
"""


def question(sample_id, round=1, votes=1, **values):
    return Question("camp", round, "tone", "mail", sample_id, votes, **values)


def answer(sample_id, annotator="ann", label="good", round=1):
    return Answer("camp", "tone", "mail", sample_id, annotator, label, round)


def start_writer(url, annotator, answers):
    command = [sys.executable, "-c", WRITER, url, annotator, str(answers)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_questions_and_answers_are_read_back_unchanged(store):
    payload = Payload(
        predicted="a", confidence=0.5, specialists={"s": ("b", 0.25)}, rank=1, ranked=2
    )
    asked = question(7, votes=2, priority=0.5, why="top two are close", payload=payload)
    given = replace(answer(7), seconds=2.5, submitted_at=12.25, label=None, reason="unclear")
    store.submit([asked])
    store.record([given], ["key"])
    assert store.questions("camp") == store.open_questions("camp", 1) == [asked]
    assert store.answers("camp") == store.answers("camp", 1) == [given]


def test_64_bit_ids_are_preserved(store):
    ids = [2**63 - 1, -(2**63)]
    store.submit([question(i) for i in ids])
    assert [asked.sample_id for asked in store.questions("camp")] == ids


def test_resubmitting_a_question_adds_nothing(store):
    assert store.submit([question(1), question(2), question(2)]) == 2
    assert store.submit([question(2), question(3)]) == 1
    assert store.progress("camp", 1) == (0, 3)


def test_submitting_a_sample_in_a_second_round_is_rejected_completely(store):
    store.submit([question(1)])
    with pytest.raises(StoreError, match=r"sample 1 of task tone .* round 2.* in round 1"):
        store.submit([question(5, round=2), question(1, round=2)])
    assert store.questions("camp", 2) == []


def test_another_task_or_campaign_can_submit_the_same_sample(store):
    others = [replace(question(1, round=2), task="topic"), replace(question(1), campaign="b")]
    assert store.submit([question(1), *others]) == 3
    assert store.progress("b") == (0, 1)


def test_a_client_key_counts_once_within_and_across_calls(store):
    store.submit([question(1)])
    assert store.record([answer(1), answer(1)], ["key", "key"]) == 1
    assert store.record([answer(1)], ["key"]) == 0
    assert len(store.answers("camp")) == 1


def test_a_client_key_cannot_be_reused_for_another_answer(store):
    store.submit([question(1), question(2)])
    store.record([answer(1)], ["key"])
    for other in (answer(2), answer(1, label="bad"), answer(1, annotator="bob")):
        with pytest.raises(StoreError, match="client key 'key'"):
            store.record([other], ["key"])


@pytest.mark.parametrize("wrong", [answer(9), answer(1, round=2)])
def test_an_answer_without_a_question_is_rejected_with_its_whole_call(store, wrong):
    store.submit([question(1)])
    with pytest.raises(StoreError, match="is not in round"):
        store.record([answer(1), wrong], ["a", "b"])
    assert store.answers("camp") == []


def test_a_question_is_complete_with_all_votes_including_skips(store):
    store.submit([question(1, votes=2), question(2)])
    store.record([answer(1, "ann")], ["a"])
    assert store.progress("camp", 1) == (0, 2)
    store.record([answer(1, "bob", label=None)], ["b"])
    assert store.progress("camp", 1) == (1, 2)
    assert [asked.sample_id for asked in store.open_questions("camp", 1)] == [2]


def test_the_last_answer_of_a_person_counts_and_is_one_vote(store):
    store.submit([question(1, votes=2)])
    store.record([answer(1, label="good"), answer(1, label="bad")], ["a", "b"])
    assert [given.label for given in store.answers("camp")] == ["bad"]
    assert store.progress("camp", 1) == (0, 1)


def test_open_questions_are_sorted_by_priority_then_submission(store):
    store.submit([question(1), question(2, priority=2.0), question(3), question(4, priority=-1.0)])
    assert [asked.sample_id for asked in store.open_questions("camp")] == [2, 1, 3, 4]


def test_one_call_can_store_thousands_of_answers(store):
    store.submit([question(i) for i in range(2500)])
    store.record([answer(i) for i in range(2500)], [str(i) for i in range(2500)])
    assert store.progress("camp", 1) == (2500, 2500)


def test_every_acknowledged_answer_survives_a_kill(store, url):
    store.submit([question(i) for i in range(50)])
    with start_writer(url, "ann", 1_000_000) as writer:
        acknowledged = [writer.stdout.readline() for _ in range(40)]
        writer.kill()
        acknowledged += writer.stdout.readlines()
    with closing(AnnotationStore(url)) as reopened:
        stored = {given.sample_id for given in reopened.answers("camp", 1)}
        assert {int(key.rpartition("-")[2]) % 50 for key in acknowledged} <= stored
        assert reopened.progress("camp", 1) == (len(stored), 50)


def test_concurrent_processes_lose_no_answer(store, url):
    store.submit([question(i, votes=2) for i in range(50)])
    writers = [start_writer(url, name, 50) for name in ("ann", "bob")]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert store.progress("camp", 1) == (50, 50)
    assert len(store.answers("camp", 1)) == 100


def test_concurrent_answers_to_one_question_are_all_counted(store, url):
    store.submit([question(i, votes=4) for i in range(30)])
    together = threading.Barrier(4)

    def work(name):
        with closing(AnnotationStore(url)) as own:
            for i in range(30):
                together.wait()
                own.record([answer(i, name)], [f"{name}{i}"])

    with ThreadPoolExecutor(4) as people:
        list(people.map(work, "abcd"))
    assert store.progress("camp") == (30, 30)


def test_an_invalid_database_url_is_named_in_the_error():
    with pytest.raises(StoreError, match="nonsense"):
        AnnotationStore("nonsense")


def test_a_database_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "run/labels.db"
    AnnotationStore(f"sqlite:///{path}").close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(StoreError, match=f"digests of passwords: chmod 600 {path}"):
        AnnotationStore(f"sqlite:///{path}")


def test_a_folder_in_place_of_a_database_is_said_to_be_one(tmp_path):
    with pytest.raises(StoreError, match=f"{tmp_path} is a folder: name a file"):
        AnnotationStore(f"sqlite:///{tmp_path}")


def test_a_database_in_what_is_no_folder_is_an_error_of_the_store(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "labels.db"
    with pytest.raises(StoreError, match=f"cannot make annotation database {path}: "):
        AnnotationStore(f"sqlite:///{path}")
