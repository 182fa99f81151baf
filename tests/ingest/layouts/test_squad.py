import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.layouts.reading import about, picked, read, write
from umc_ray.errors import DataError
from umc_ray.ingest.layouts.squad import MOVED

CONTEXT = "Beyoncé was born in Houston. She sang in Houston."


def question(name, *answers, **more):
    """Return a question with answers of (text, answer_start)."""
    given = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": f"Where {name}?", "answers": given, **more}


def squad(path, *questions, version="1.1"):
    paragraphs = [{"context": CONTEXT, "qas": list(questions)}]
    document = {"data": [{"title": "Beyoncé", "paragraphs": paragraphs}], "version": version}
    return write(path, json.dumps(document, ensure_ascii=False))


def answers(rows):
    return [
        row if isinstance(row, str) else [(a["text"], a["answer_start"]) for a in row["answers"]]
        for row in rows
    ]


def test_questions_become_rows(tmp_path):
    path = squad(tmp_path / "train-v1.1.json", question("q1", ("Houston", 20)))
    (row,) = read(path, "context", "question", "id")
    assert row == {
        "id": "q1",
        "title": "Beyoncé",
        "context": CONTEXT,
        "question": "Where q1?",
        "answers": [{"text": "Houston", "answer_start": 20}],
        "is_impossible": False,
    }


def test_questions_of_version_2_may_have_no_answer(tmp_path):
    path = squad(
        tmp_path / "dev-v2.0.json",
        question("q1", ("Houston", 20), ("Houston", 41), is_impossible=False),
        question("q2", is_impossible=True, plausible_answers=[]),
        question("q3", ("Houston", 20), is_impossible=True),
        question("q4"),
        version="v2.0",
    )
    rows = read(path)
    assert [row["is_impossible"] for row in rows[:2]] == [False, True]
    assert answers(rows) == [
        [("Houston", 20), ("Houston", 41)],
        [],
        "answers of an impossible question: question q3",
        "no answer: question q4 is not said to be impossible",
    ]


def test_an_answer_beside_its_start_is_moved_and_one_elsewhere_is_a_bad_row(tmp_path):
    path = squad(
        tmp_path / "train-v1.1.json",
        *(question(f"q{start}", ("Houston", start)) for start in (18, 19, 20, 21, 22, 23)),
        question("blanks", (" Houston ", 19)),
        question("only", ("She sang", 0)),
        question("empty", ("", 20)),
        question("nowhere", ("Dallas", 20)),
        question("text", ("Houston", "20")),
    )
    notes = Counter()
    found = answers(read(path, notes=notes))
    assert found[:5] == 5 * [[("Houston", 20)]]
    assert found[5] == (
        "answer not at answer_start: answer 'Houston' is not at 23 of the text, but at 20, 41"
    )
    assert found[6:8] == [[("Houston", 20)], [("She sang", CONTEXT.index("She sang"))]]
    assert found[8].split(":")[0] == "broken answers"
    assert found[9] == "answer not at answer_start: answer 'Dallas' is not in the text"
    assert found[10] == [("Houston", 20)]  # a number as text
    assert notes == {MOVED: 6}


def test_a_folder_is_recognized_and_its_splits_are_told_by_the_names_of_files(tmp_path):
    squad(tmp_path / "train-v2.0.json", question("q1", ("Houston", 20)))
    squad(tmp_path / "dev-v2.0.json", question("q2", ("Houston", 20)))
    assert about(tmp_path) == "squad: split train of train, validation"
    assert picked(read(tmp_path, use="test"), "id") == [("q2",)]
    squad(tmp_path / "train-v1.1.json", question("q1", ("Houston", 20)))
    with pytest.raises(DataError, match=r"has train-v1.1.json and train-v2.0.json: name one"):
        about(tmp_path)


def test_a_file_that_breaks_off_is_one_bad_row(tmp_path):
    path = squad(tmp_path / "train-v2.0.json", question("q1", ("Houston", 20)))
    path.write_bytes(path.read_bytes()[:-20])
    (found,) = read(path)
    assert found.startswith("unreadable file: broken JSON: ")


def test_the_hubs_parquet_files_give_the_same_rows(tmp_path):
    rows = [
        {"text": ["Houston", "Houston"], "answer_start": [20, 40]},
        {"text": [], "answer_start": []},
    ]
    table = pa.table(
        {
            "id": ["q1", "q2"],
            "title": ["B", "B"],
            "context": [CONTEXT, CONTEXT],
            "question": ["Where?", "Why?"],
            "answers": rows,
        }
    )
    (tmp_path / "plain_text").mkdir()
    pq.write_table(table, tmp_path / "plain_text" / "train-00000-of-00001.parquet")
    assert about(tmp_path / "plain_text") == "squad: split train of train"
    found = read(tmp_path / "plain_text", "id", "question")
    assert answers(found) == [[("Houston", 20), ("Houston", 41)], []]
    assert picked(found, "id", "is_impossible") == [("q1", False), ("q2", True)]


@pytest.mark.parametrize("given", [5, True, 1.5, "Houston"])
def test_answers_that_are_no_list_are_a_bad_row(tmp_path, given):
    path = squad(tmp_path / "train-v1.1.json", {**question("q"), "answers": given})
    (reason,) = read(path)
    assert reason.startswith("broken answers: ")


def test_answers_as_on_the_hub_are_read_in_json_too(tmp_path):
    given = {"text": ["Houston"], "answer_start": [20]}
    path = squad(tmp_path / "train-v1.1.json", {**question("q"), "answers": given})
    assert answers(read(path)) == [[("Houston", 20)]]


def test_paragraphs_without_questions_are_bad_rows(tmp_path):
    paragraphs = [{"context": CONTEXT, "qas": [question("q", ("Houston", 20))]}]
    paragraphs += [{"context": CONTEXT, "questions": []}, 5]
    document = {"data": [{"title": "t", "paragraphs": paragraphs}, {"title": "u"}]}
    found = answers(read(write(tmp_path / "train-v1.1.json", json.dumps(document))))
    assert found == [
        [("Houston", 20)],
        "broken JSON: no list 'qas', only context, questions",
        "broken JSON: no list 'qas', only int",
        "broken JSON: no list 'paragraphs', only title",
    ]
