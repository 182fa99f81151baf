import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.finished import build_run
from umc_ray import cli
from umc_ray.annotation.asked import asked
from umc_ray.annotation.questions import batch_questions
from umc_ray.annotation.review import decide
from umc_ray.annotation.store import AnnotationStore, Question
from umc_ray.campaign.answer_store import make_store, open_store
from umc_ray.campaign.asked_rounds import check_store
from umc_ray.campaign.corrections import changed_labels
from umc_ray.campaign.forget import forget
from umc_ray.campaign.relabel import import_labels, relabel
from umc_ray.campaign.restore_answers import not_restored, restore_answers
from umc_ray.campaign.round import open_round
from umc_ray.campaign.run import Run
from umc_ray.campaign.verify_answers import check_answers, store_damage
from umc_ray.errors import StoreError
from umc_ray.records import DomainKey
from umc_ray.report.status import activity_lines
from umc_ray.selection.labeled import labels_so_far

ROUNDS = 3
SHOP = DomainKey("mood", "shop")


def with_own_store(run):
    annotation = run.config.annotation.model_copy(update={"database": None, "votes": 3})
    return Run(run.config.model_copy(update={"annotation": annotation}))


def ask(run, number):
    batch = run.storage.read_table(f"rounds/{number:04d}/batch.parquet")
    questions = batch_questions(run.config, number, batch, [None] * len(batch))
    run.store.submit(questions)
    return questions


def answer(run, number, questions):
    labels = run.storage.read_table(f"rounds/{number:04d}/labels.parquet").to_pylist()
    known = {row["sample_id"]: row["label"] for row in labels}
    for vote in ("ann", "ben", "cat"):
        answers = [each.answered(vote, known.get(each.sample_id)) for each in questions]
        run.store.record(answers, [f"{vote}/{each.sample_id}" for each in questions])
    run.store.close_round(run.config.name, number)


def back_up(path, to):
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    Path(to).chmod(0o600)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    run = with_own_store(build_run(str(tmp_path_factory.mktemp("runs")), tasks=("mood",)))
    make_store(run.config).close()
    with closing(run.store):
        for number in range(1, ROUNDS + 1):
            questions = ask(run, number)
            if number == ROUNDS:
                back_up(run.storage.path("labels.db"), run.storage.path("older.db"))
            answer(run, number, questions)
    return run


@pytest.fixture
def run(original, tmp_path):
    shutil.copytree(original.storage.root, tmp_path / original.config.name)
    copy = Run(original.config.model_copy(update={"storage": str(tmp_path)}))
    yield copy
    if "store" in vars(copy):
        copy.store.close()


def delete(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def roll_back(path):
    for name in path.parent.glob("labels.db*"):
        name.unlink()
    shutil.copy(path.parent / "older.db", path)


def of_another_campaign(path):
    path.unlink()
    with closing(AnnotationStore(f"sqlite:///{path}")) as store:
        store.submit([Question("other", 1, "mood", "shop", 3)])


def empty_answers(path):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM events")


def forget_answers(path):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM events WHERE annotator = 'ben'")


FAULTS = [delete, empty, roll_back, of_another_campaign, empty_answers, forget_answers]


def test_a_store_that_belongs_to_the_rounds_is_fine(run):
    check_store(run)


def test_a_store_that_is_gone_is_not_begun_anew(run):
    path = Path(run.storage.path("labels.db"))
    path.unlink()
    said = f"{path} is missing, and people were asked; .*umc restore-answers"
    with pytest.raises(StoreError, match=said):
        run.store  # noqa: B018 - opens it
    assert not path.exists()


def test_labels_of_a_store_that_was_begun_anew_have_to_be_given_again(run):
    run.storage.delete_file("rounds/0003/labels.parquet")
    row = run.storage.read_table("rounds/0003/batch.parquet").to_pylist()[0]
    Path(run.storage.path("labels.db")).unlink()
    make_store(run.config).close()
    sample_id = row["sample_id"]
    question = Question(run.config.name, 0, row["task"], row["domain"], sample_id, why="imported")
    run.store.submit([question])
    run.store.record([question.answered("ann", "good")], ["1"])
    run.store.close_round(run.config.name, 0)
    said = rf"s{sample_id} of mood \(round 3\) as imported.*move this one away.*umc relabel"
    for action in (check_store, restore_answers):
        with pytest.raises(StoreError, match=said):
            action(run)


@pytest.mark.parametrize("fault", FAULTS[1:])
def test_a_store_that_does_not_know_the_rounds_is_refused(run, fault):
    fault(Path(run.storage.path("labels.db")))
    with pytest.raises(StoreError, match=r"rounds: it was .*umc restore-answers") as raised:
        check_store(run)
    assert " 0 " not in str(raised.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_restored_store_says_what_the_lost_one_said(original, run, fault):
    fault(Path(run.storage.path("labels.db")))
    found = restore_answers(run)
    assert found.answers > 0
    check_store(run)
    assert run.spent() == original.spent() == 12
    assert run.spent(1) == original.spent(1)
    for now, before in zip(run.queried().values(), original.queried().values(), strict=True):
        assert np.array_equal(now, before)
    name = run.config.name
    states = asked(run.store, name), asked(original.store, name)
    assert states[0] == states[1]
    labels = labels_so_far(run.storage, run.folders(ROUNDS))
    assert len(changed_labels(run, ROUNDS, labels)) == 0
    assert run.store.reopened_rounds(name) == []
    assert restore_answers(run).answers == 0


def test_what_cannot_be_restored_is_said_before(run):
    key = "rounds/0003/labels.parquet"
    labels = run.storage.read_table(key)
    column = labels.schema.get_field_index("agreement")
    two_of_three = pa.array([2 / 3] * len(labels), pa.float32())
    votes = pa.array([3] * len(labels), pa.int16())
    labels = labels.set_column(labels.schema.get_field_index("votes"), "votes", votes)
    run.storage.write_table(key, labels.set_column(column, "agreement", two_of_three))
    run.storage.write_table("rounds/0003/remarks.parquet", pa.table({"text": ["blurred", "dark"]}))
    roll_back(Path(run.storage.path("labels.db")))
    assert not_restored(run) == [
        "who gave 12 answers, and when; 4 said something else than the label, which takes their "
        "place",
        "what people changed after round 3 had learned its labels: nothing but the store knows "
        "whether and where they did",
        "2 flags and notes: rounds/0003/remarks.parquet has them, without names",
    ]
    restore_answers(run)
    assert not_restored(run) == []


def flip(path):
    """Damage the pages of the largest table."""
    for name in path.parent.glob("labels.db-*"):
        name.unlink()
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)


def show_everybody(path):
    path.chmod(0o644)


VERIFIED = [
    (delete, "labels.db is missing, and people were asked; put a copy back, or .* umc restore-"),
    (flip, r"(labels\.db: |malformed).*umc restore-answers"),
    (show_everybody, "everybody on this machine can read .*: chmod 600"),
    (empty_answers, "lacks answers to 12 questions of closed rounds: .*umc restore-answers"),
]


@pytest.mark.parametrize(("fault", "said"), VERIFIED)
def test_verification_includes_the_store(run, fault, said):
    assert store_damage(run.config) is None
    path = Path(run.storage.path("labels.db"))
    fault(path)
    existed = path.exists()
    assert re.search(said, store_damage(run.config))
    assert path.exists() == existed
    if existed:
        path.chmod(0o600)


def test_a_campaign_that_asked_nobody_needs_no_store(run):
    run.storage.delete("rounds")
    Path(run.storage.path("labels.db")).unlink()
    assert store_damage(run.config) is None


def test_an_answer_that_was_taken_back_is_not_lost(run):
    answer = run.store.answers(run.config.name, ROUNDS)[0]
    run.store.record_as("undo", [answer], ["undo"])
    check_store(run)


def test_answers_that_others_have_outvoted_since_do_not_decide(run):
    roll_back(Path(run.storage.path("labels.db")))
    question = run.store.questions(run.config.name, ROUNDS)[0]
    run.store.record([question.answered("ann", "bad")], ["1"])
    run.store.record([question.answered("ben", "good")], ["2"])
    restore_answers(run)
    labels = labels_so_far(run.storage, run.folders(ROUNDS))
    assert len(changed_labels(run, ROUNDS, labels)) == 0
    assert run.store.open_questions(run.config.name) == []


def test_the_store_of_another_run_of_this_name_is_refused(run):
    run.store.submit([Question(run.config.name, 4, "mood", "shop", 9)])
    said = "1 question of demo that no round in .* asked, such as s9 of mood in round 4"
    for action in (check_store, restore_answers):
        with pytest.raises(StoreError, match=said):
            action(run)


def test_an_open_round_is_asked_by_the_run_itself(run):
    run.storage.delete_file("rounds/0003/labels.parquet")
    Path(run.storage.path("labels.db")).unlink()
    restore_answers(run)
    check_store(run)
    assert run.store.progress(run.config.name, 3) == (0, 0)
    ask(run, 3)
    with closing(sqlite3.connect(run.storage.path("labels.db"))) as database, database:
        database.execute("DELETE FROM questions WHERE round = 3 AND id % 2")
    check_store(run)


def test_another_batch_never_takes_the_place_of_a_lost_one(run):
    run.storage.delete_file("rounds/0003/batch.parquet")
    run.storage.delete_file("rounds/0003/labels.parquet")
    with pytest.raises(StoreError, match=r"4 questions in round 3, but .*batch\.parquet .*backup"):
        open_round(run, 3)


def test_labels_that_a_round_lost_while_their_answers_are_there_are_named(run):
    key = "rounds/0002/labels.parquet"
    labels = run.storage.read_table(key)
    run.storage.write_table(key, labels.slice(2))
    with pytest.raises(StoreError, match=rf"{key} of 2 labels\. umc repair computes them again"):
        check_store(run)
    run.storage.write_table(key, labels)
    check_store(run)


def test_an_answer_that_came_late_is_not_a_lost_label(run):
    labels = run.storage.read_table("rounds/0002/labels.parquet")
    run.storage.write_table("rounds/0002/labels.parquet", labels.slice(1))
    sample_id = labels["sample_id"][0].as_py()
    (question,) = (e for e in run.store.questions(run.config.name, 2) if e.sample_id == sample_id)
    run.store.record([question.answered("ann", "bad")], ["late"])
    check_store(run)


def test_a_release_is_refused_where_the_store_is_gone_and_says_where_it_knows_better(
    run, monkeypatch, caplog
):
    run.storage.seal(run.storage.keys("rounds"))
    check_answers(run)
    monkeypatch.setattr("umc_ray.campaign.run.open_run", lambda _: Run(run.config))
    name = run.config.name
    question = run.store.questions(name, 2)[0]
    (before,) = {e.label for e in run.store.answers(name, 2) if e.key == question.key}
    other = next(label for label in run.kinds["mood"].labels if label != before)
    decide(run.store, question.answered("boss", other), "1")
    check_answers(run)
    assert f"the finished rounds of {name} lack 1 correction of labels" in caplog.text
    assert f"s{question.sample_id}: umc run takes them over" in caplog.text
    run.store.close()
    Path(run.storage.path("labels.db")).unlink()
    with pytest.raises(StoreError, match=r"people were asked; .*umc restore-answers"):
        cli.release(Path("campaign.yaml"))
    assert not run.storage.keys("release")


def test_a_release_opens_the_store_once(run, monkeypatch):
    run.storage.seal(run.storage.keys("rounds"))
    opened = []

    def open_counted(config):
        opened.append(config.name)
        return open_store(config)

    monkeypatch.setattr("umc_ray.campaign.run.open_store", open_counted)
    monkeypatch.setattr("umc_ray.campaign.run.open_run", lambda _: Run(run.config))
    cli.release(Path("campaign.yaml"), None, None)
    assert opened == [run.config.name]


CORRECTIONS = [
    lambda run: relabel(run, SHOP, "s1", "good", "ada"),
    lambda run: import_labels(run, "labels.csv", "ada"),
    lambda run: forget(run, SHOP, ["s1"]),
]


@pytest.mark.parametrize("correct", CORRECTIONS)
def test_nothing_is_corrected_in_a_store_that_does_not_know_the_rounds(run, correct):
    empty(Path(run.storage.path("labels.db")))
    with pytest.raises(StoreError, match=r"rounds: it was .*umc restore-answers"):
        correct(run)
    assert not run.storage.exists("forgotten.json")


def test_a_label_that_was_imported_since_is_said(run, caplog):
    asked_of = {each.sample_id for each in run.store.questions(run.config.name)}
    sample_id = next(i for i in range(12) if i not in asked_of)
    question = Question(run.config.name, 0, "mood", "shop", sample_id, why="imported")
    run.store.submit([question])
    run.store.record([question.answered("ann", "good")], ["1"])
    run.store.close_round(run.config.name, 0)
    run.storage.seal(run.storage.keys("rounds"))
    check_answers(run)
    assert f"such as that of s{sample_id}: umc run takes them over" in caplog.text


def test_a_run_directory_without_any_seals_is_not_released(run, monkeypatch):
    monkeypatch.setattr("umc_ray.campaign.run.open_run", lambda _: run)
    with pytest.raises(StoreError, match=r"seals/ of .*: no file of it is there: .*umc repair"):
        cli.release(Path("campaign.yaml"))
    assert any("nothing says what was stored" in line for line in activity_lines(run.config, 3))
    run.storage.seal(run.storage.keys("rounds"))
    assert activity_lines(run.config, 3) == []
