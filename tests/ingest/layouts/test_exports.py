"""Exports of Label Studio, Argilla and Prodigy."""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.layouts.reading import about, picked, read, write
from umc_ray.errors import DataError


def annotation(*choices, name="mood", **more):
    value = {"choices": list(choices)}
    result = {"from_name": name, "to_name": "text", "type": "choices", "value": value}
    return {"id": 7, "completed_by": 1, "was_cancelled": False, "result": [result], **more}


def tasks(path, *annotations):
    found = [
        {"id": i, "annotations": each, "data": {"text": f"text {i}"}, "predictions": []}
        for i, each in enumerate(annotations, start=1)
    ]
    return write(path, json.dumps(found))


def test_the_last_annotation_of_a_task_counts_unless_one_is_the_truth(tmp_path):
    path = tasks(
        tmp_path / "project-1-at-2026-01-01.json",
        [annotation("bad")],
        [annotation("bad"), annotation("good")],
        [annotation("bad", ground_truth=True), annotation("good")],
        [annotation("bad", was_cancelled=True)],
        [annotation("bad", "good")],
        [],
    )
    notes = Counter()
    assert about(path) == "label_studio: project-1-at-2026-01-01.json"
    assert picked(read(path, "text", "label", notes=notes), "text", "label") == [
        ("text 1", "bad"),
        ("text 2", "good"),
        ("text 3", "bad"),
        ("text 4", None),
        ("text 5", ["bad", "good"]),
        ("text 6", None),
    ]
    assert notes == {
        "tasks with several annotations: the last one counts, or the ground truth": 2,
        "skipped annotations: no label": 1,
    }


def test_of_several_controls_the_campaign_names_one(tmp_path):
    two = annotation("bad")
    two["result"] += annotation("news", name="topic")["result"]
    (row,) = read(tasks(tmp_path / "a.json", [two]), "topic")
    assert (row["mood"], row["topic"], row["label"]) == (["bad"], ["news"], None)
    with pytest.raises(DataError, match=r"has no column 'genre'; it has text, id, .*mood, topic"):
        read(tmp_path / "a.json", "genre")


MIN = {"annotator": 1, "annotation_id": 2, "lead_time": 3.1, "created_at": "x", "updated_at": "x"}


def test_json_min_and_csv_have_a_row_for_each_annotation(tmp_path):
    one = {"text": "a", "id": 1, "mood": "good", **MIN}
    two = {"text": "b", "id": 2, "mood": {"choices": ["good", "bad"]}, **MIN}
    path = write(tmp_path / "min.json", json.dumps([one, two]))
    assert picked(read(path, "mood"), "text", "mood") == [("a", "good"), ("b", ["good", "bad"])]
    header = "annotation_id,annotator,created_at,id,lead_time,mood,text,updated_at\n"
    cell = '"{""choices"": [""good"", ""bad""]}"'
    lines = f"2,1,x,1,3.1,good,a,x\n2,1,x,2,3.1,{cell},b,x\n"
    path = write(tmp_path / "min.csv", header + lines)
    assert about(path) == "label_studio: min.csv"
    assert picked(read(path, "text", "mood"), "text", "mood") == [
        ("a", "good"),
        ("b", ["good", "bad"]),
    ]


def record(name, *answers, question="topic"):
    given = [{"value": value, "user_id": "u", "status": status} for value, status in answers]
    return {
        "id": name,
        "status": "completed",
        "fields": {"text": f"text {name}"},
        "metadata": {"year": 2024},
        "suggestions": {question: {"value": "none of this", "score": 0.1, "agent": "m"}},
        "responses": {question: given},
        "vectors": {},
    }


def test_most_answers_of_an_argilla_record_count(tmp_path):
    records = [
        record("1", ("sport", "submitted"), ("news", "submitted"), ("sport", "submitted")),
        record("2", ("sport", "submitted"), ("news", "submitted")),
        record("3", ("sport", "discarded")),
        record("4", (["sport", "news"], "submitted")),
        record("5"),
        {"id": "6", "fields": None},
    ]
    path, notes = write(tmp_path / "records.json", json.dumps(records)), Counter()
    assert about(path) == "argilla: records.json"
    assert picked(read(path, "text", "label", "year", notes=notes), "text", "label") == [
        ("text 1", "sport"),
        ("text 2", None),
        ("text 3", None),
        ("text 4", ["sport", "news"]),
        ("text 5", None),
        "broken record: record 6 has no fields",
    ]
    assert notes == {"records whose answers are tied: no label": 1}


def test_an_argilla_dataset_has_columns_of_responses(tmp_path):
    table = pa.table(
        {
            "text": ["a", "b"],
            "topic.responses": [["sport", "news"], None],
            "topic.responses.users": [["u1", "u2"], None],
            "topic.responses.status": [["submitted", "draft"], None],
        }
    )
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    assert about(tmp_path) == "argilla: train"
    assert picked(read(tmp_path, "text", "label"), "text", "label") == [("a", "sport"), ("b", None)]


def lines(path, *rows):
    marked = [{"_task_hash": i, **row} for i, row in enumerate(rows)]
    return write(path, "".join(f"{json.dumps(row)}\n" for row in marked))


def test_the_accepted_labels_of_an_input_are_one_row_of_prodigy(tmp_path):
    path = lines(
        tmp_path / "topics.jsonl",
        {"text": "a", "_input_hash": 1, "label": "sport", "answer": "accept"},
        {"text": "b", "_input_hash": 2, "label": "sport", "answer": "reject"},
        {"text": "a", "_input_hash": 1, "label": "news", "answer": "accept"},
        {"text": "c", "_input_hash": 3, "accept": ["news"], "answer": "accept"},
        {"text": "d", "_input_hash": 4, "accept": [], "answer": "accept"},
        {"text": "e", "_input_hash": 5, "accept": ["news"], "answer": "ignore"},
        {"text": "f", "_input_hash": 6, "accept": ["news"], "answer": "accept"},
        {"text": "f", "_input_hash": 6, "accept": ["sport"], "answer": "accept"},
    )
    path.write_text(path.read_text() + "{broken\n")
    notes = Counter()
    assert about(path) == "prodigy: topics.jsonl"
    rows = read(path, "text", "label", notes=notes)
    assert picked(rows, "text", "label", "labels")[:6] == [
        ("a", ["sport", "news"], ["sport", "news"]),
        ("b", None, None),
        ("c", "news", ["news"]),
        ("d", None, []),
        ("e", None, None),
        ("f", "sport", ["sport"]),
    ]
    assert rows[6].startswith("broken JSON: ")
    assert notes == {
        "inputs with several choices: the last one counts": 1,
        "lines that were rejected: no label": 1,
        "lines that were ignored: no label": 1,
    }


@pytest.mark.parametrize("name", ["label_studio", "argilla", "prodigy"])
def test_a_folder_without_an_export_is_an_error(tmp_path, name):
    with pytest.raises(DataError, match=r"has no export of "):
        about(tmp_path, format=name)


def test_plain_tables_are_not_taken_for_exports(tmp_path):
    assert about(write(tmp_path / "a.jsonl", '{"text": "a", "label": "b"}\n')) is None
    assert about(write(tmp_path / "a.csv", "text,label,id\na,b,1\n")) is None
    assert about(write(tmp_path / "a.json", '[{"text": "a", "data": {}}]')) is None
