from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pytest

from umc_ray.annotation.backends.backend import AnnotationBackend, collect_all, sample_rows
from umc_ray.annotation.backends.replay import COMMIT, ReplayAnnotator, recorded_answers
from umc_ray.annotation.store import AnnotationStore, Question
from umc_ray.errors import AwaitingAnnotations, DataError
from umc_ray.records import ORACLE, DomainKey, Part
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

KIND = Classification(("negative", "neutral", "positive"))
SAMPLES = 130


@pytest.fixture
def store(sqlite_url, clock):
    with closing(AnnotationStore(sqlite_url, clock)) as store:
        yield store


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "run"))


@pytest.fixture
def parts(storage):
    """Two parts of one domain; sample i was rated i mod 3 - 1, then -4."""
    parts = [Part("pool", DomainKey("tone", "mail"), name, SAMPLES // 2) for name in ("a", "b")]
    for part, ids in zip(parts, (range(65), range(65, SAMPLES)), strict=True):
        rows = [{"sample_id": i, "label": None, "ratings": [i % 3 - 1, -4]} for i in ids]
        storage.write_table(part.key("oracle"), pa.Table.from_pylist(rows, schema=ORACLE))
    return parts


def question(sample_id, votes=1):
    return Question("camp", 1, "tone", "mail", sample_id, votes)


def said(answers):
    return [(answer.annotator, answer.label, answer.reason) for answer in answers]


def test_the_kth_vote_is_the_kth_rating_and_its_sign_the_label():
    known = {"label": "positive", "ratings": [-1, 0, 3]}
    assert said(recorded_answers(question(1, votes=4), known, KIND)) == [
        ("rater-1", "negative", None),
        ("rater-2", None, "rated neutral"),
        ("rater-3", "positive", None),
        ("rater-4", None, "only 3 ratings are recorded"),
    ]


def test_without_ratings_the_known_label_answers_every_vote():
    known = {"label": "neutral", "ratings": None}
    expected = [("gold", "neutral", None), ("gold-2", "neutral", None)]
    assert said(recorded_answers(question(1, votes=2), known, KIND)) == expected


def test_several_known_labels_answer_and_ratings_cannot():
    kind = MultiLabel(("art", "law"))
    known = {"label": "art | law", "ratings": None}
    assert said(recorded_answers(question(1), known, kind)) == [("gold", "art | law", None)]
    with pytest.raises(DataError, match="cannot use recorded ratings such as -1"):
        recorded_answers(question(1), {"label": "art", "ratings": [-1]}, kind)


@pytest.mark.parametrize("known", [None, {"label": None, "ratings": None}])
def test_a_sample_nobody_knows_is_a_skip_with_a_reason(known):
    expected = [("gold", None, "no known answer")]
    assert said(recorded_answers(question(1), known, KIND)) == expected


def test_the_replay_answers_what_is_asked_across_parts(store, storage, parts):
    replay = ReplayAnnotator(store, "camp", storage, parts, {"tone": KIND})
    replay.submit([question(i, votes=2) for i in (3, 64, 65, 129)])
    answers = collect_all(replay, 1)
    firsts = {given.sample_id: given.label for given in answers if given.annotator == "rater-1"}
    assert firsts == {3: "negative", 64: None, 65: "positive", 129: "negative"}
    assert {given.label for given in answers if given.annotator == "rater-2"} == {"negative"}


def test_a_replay_killed_half_way_ends_with_the_same_answers(store, storage, parts, tmp_path):
    questions = [question(i, votes=2) for i in range(SAMPLES)]
    replay = ReplayAnnotator(store, "camp", storage, parts, {"tone": KIND})
    replay.submit(questions)
    undisturbed = replay.collect(1)

    class Killed(Exception):
        pass

    class DyingStore(AnnotationStore):
        commits = 0

        def record(self, answers, client_keys):
            self.commits += 1
            if self.commits == 3:
                raise Killed
            return super().record(answers, client_keys)

    with closing(DyingStore(f"sqlite:///{tmp_path}/other.db", store.clock)) as other:
        again = ReplayAnnotator(other, "camp", storage, parts, {"tone": KIND})
        again.submit(questions)
        with pytest.raises(Killed):
            again.collect(1)
        assert len(other.answers("camp")) == 2 * COMMIT
        assert again.collect(1) == undisturbed
        assert len(undisturbed) == 2 * SAMPLES


def test_only_rows_of_asked_samples_are_read(storage, parts):
    asked = [question(5), question(70), replace(question(6), domain="chat")]
    rows = sample_rows(storage, parts, asked, "oracle")
    assert [row["sample_id"] for row in rows.values()] == [5, 70]
    assert rows[question(5).key]["ratings"] == [1, -4]


def test_waiting_says_how_much_is_missing_and_what_to_do(store):
    class NullListener(AnnotationBackend):
        def hint(self, round):
            return "ring the bell"

    silent = NullListener(store, "camp", None, (), {"tone": KIND})
    silent.submit([question(1)])
    with pytest.raises(AwaitingAnnotations, match=r"round 1: 0 of 1 .*ring the bell"):
        collect_all(silent, 1)
