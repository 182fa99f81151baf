import csv
import importlib
import io
import json
import re
from dataclasses import replace
from pkgutil import iter_modules

import pytest

from tests.web.conftest import World
from tests.web.worlds import CLASSES, PICTURES, TEXT, XSS, answer, ids
from umc_ray import web
from umc_ray.annotation.review import decide, decisions
from umc_ray.annotation.store import Answer
from umc_ray.web.accounts import Person
from umc_ray.web.json_body import LONG_BYTES, JsonRoute

KEY = "0123456789abcdef"


def sample(index, domain_key=TEXT, number=2):
    here = {"task": domain_key.task, "domain": domain_key.domain, "round": number}
    return {**here, "sample_id": str(ids(domain_key, number)[index])}


def label(client, index, label="good", key=None, **values):
    body = {"client_key": key or f"key-{index:08d}", "samples": [sample(index)], "label": label}
    return client.post("/api/answers", json=body | values)


@pytest.fixture
def client(world):
    return world.client("annotator")


def test_an_acknowledged_answer_is_stored_once_despite_retries(world, client):
    fields = {"seconds": 1.5, "seen": True, "guideline": "v1", "reason": None}
    world.give("annotator", 1)
    for _ in range(3):
        assert label(client, 0, **fields).json() == {"saved": 1}
    (kept,) = world.store.answers("tiny")
    assert (kept.sample_id, kept.label, kept.annotator) == (ids(TEXT, 2)[0], "good", "annotator")
    assert (kept.seconds, kept.seen, kept.guideline) == (1.5, True, "v1")


def test_a_client_key_is_unique_per_action_and_person(world, client):
    world.give("annotator", 1)
    world.give("admin", 2)
    assert label(client, 0, key=KEY).status_code == 200
    assert label(client, 0, "bad", key=KEY).status_code == 409
    assert label(world.client("admin"), 1, key=KEY).status_code == 200
    assert [each.label for each in world.store.answers("tiny")] == ["good", "good"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"label": "worst"}, 422),
        ({"client_key": "short"}, 422),
        ({"seconds": -1}, 422),
        ({"extra": 1}, 422),
        ({"reason": "\0"}, 422),
        ({"reason": "\ud800"}, 422),
        ({"reason": "x" * 2001}, 422),
        ({"samples": []}, 422),
        ({"samples": [{**sample(0), "sample_id": "9" * 19}]}, 422),
        ({"samples": [{**sample(0), "task": "none"}]}, 422),
        ({"samples": [{**sample(0), "sample_id": "77"}]}, 409),
        ({"samples": [{**sample(0), "round": 1}]}, 409),
    ],
)
def test_an_invalid_answer_is_rejected_with_a_reason_and_not_stored(still_world, changes, status):
    body = {"client_key": KEY, "samples": [sample(0)], "label": "good", **changes}
    json_type = {"content-type": "application/json"}
    client = still_world.client("annotator")
    answered = client.post("/api/answers", content=json.dumps(body), headers=json_type)
    assert (answered.status_code, list(answered.json())) == (status, ["detail"])
    assert still_world.store.answers("tiny") == []


@pytest.mark.parametrize("padding", [0, LONG_BYTES])
def test_a_request_that_has_a_key_twice_is_rejected_and_not_stored(still_world, padding):
    body = json.dumps({"client_key": "k" * 16, "samples": [sample(0)], "label": "good"})
    twice = body.replace('"label"', '"label": "bad", "label"') + " " * padding
    client, headers = still_world.client("annotator"), {"content-type": "application/json"}
    response = client.post("/api/answers", content=twice, headers=headers)
    assert (response.status_code, response.json()) == (
        422,
        {"detail": "the key 'label' is given twice"},
    )
    made_up = body.replace("{", '{"s3cret": 1, "s3cret": 2, ', 1)
    response = client.post("/api/answers", content=made_up, headers=headers)
    assert (response.status_code, "s3cret" in response.text) == (422, False)
    assert still_world.store.answers("tiny") == []


def test_every_route_with_a_body_reads_its_json_without_repeated_keys():
    modules = [
        importlib.import_module(each.name) for each in iter_modules(web.__path__, "umc_ray.web.")
    ]
    routers = [each.router for each in modules if hasattr(each, "router")]
    routes = [each for router in routers for each in router.routes if each.body_field]
    assert {each.path for each in routes} >= {"/api/answers", "/api/labels"}
    assert all(isinstance(each, JsonRoute) for each in routes)


def test_a_client_can_lease_answer_and_undo(world, client):
    first, second = client.get("/api/questions?n=2").json()
    assert first["sample"] == sample(0)
    assert first["labels"] == CLASSES["mood"]
    assert first["text"].startswith(XSS)
    assert second["image"] == f"images/digits/{ids(PICTURES, 2)[0]}"
    assert client.get("/api/questions?n=2").json() == [first, second]
    label(client, 0)
    undo = {"client_key": "undo-00000001"}
    for _ in range(2):
        assert client.post("/api/undo", json=undo).json() == {"samples": [sample(0)]}
    assert world.store.answers("tiny") == []
    assert client.post("/api/undo", json={"client_key": "undo-00000002"}).json() == {"samples": []}


def test_a_group_is_answered_and_undone_as_a_whole(world, client):
    world.give("annotator", 12)
    group = [sample(i) for i in (2, 3, 5)]
    body = {"client_key": KEY, "samples": group, "label": "bad", "bulk": "2-mood-0"}
    for _ in range(2):
        assert client.post("/api/answers", json=body).json() == {"saved": 3}
    assert {each.bulk for each in world.store.answers("tiny")} == {"2-mood-0"}
    undone = client.post("/api/undo", json={"client_key": "undo-00000001"}).json()["samples"]
    assert sorted(each["sample_id"] for each in undone) == [each["sample_id"] for each in group]


def test_only_who_was_given_a_question_can_answer_it(world, client):
    world.give("annotator", 1)
    refused = label(world.client("reviewer"), 0)
    assert refused.status_code == 409
    assert "reviewer was not asked about sample" in refused.json()["detail"]
    assert world.store.answers("tiny") == []
    assert label(client, 0).json() == {"saved": 1}
    assert label(client, 0, "bad", key=KEY).json() == {"saved": 1}  # a change needs no lease
    assert [each.label for each in world.store.answers("tiny")] == ["bad"]


def test_undo_takes_back_the_answer_that_is_named(world, client):
    world.give("annotator", 3)
    label(client, 0)
    label(client, 1)
    undo = {"client_key": "undo-00000001", "answer": "key-00000000"}
    for _ in range(2):
        assert client.post("/api/undo", json=undo).json() == {"samples": [sample(0)]}
    assert [each.sample_id for each in world.store.answers("tiny")] == [ids(TEXT, 2)[1]]


def test_what_other_windows_show_is_held_but_not_shown_again(world, client):
    def shown(path):
        html = client.get(path).text
        return re.findall(r'<article class="item" data-task="(\w+)".*?data-sample="(\d+)"', html)

    first = shown("/items?n=2")
    names = " ".join(f"{task}/{sample_id}" for task, sample_id in first)
    other = shown(f"/items?n=2&elsewhere={names}")
    assert len(first) == len(set(other) - set(first)) == 2
    gone = [sample(0), sample(0, PICTURES)]
    assert first == [(each["task"], each["sample_id"]) for each in gone]
    assert client.post("/api/release", json={"samples": gone}).status_code == 204
    assert len(world.site.leases(Person("annotator", "annotator"), "tiny").held()) == 2
    assert label(client, 0).json() == {"saved": 1}  # it was on its way


def test_an_answer_of_a_closed_round_cannot_be_undone(world, client):
    world.give("annotator", 1)
    label(client, 0)
    world.store.close_round("tiny", 2)
    refused = client.post("/api/undo", json={"client_key": "undo-00000001"})
    assert (refused.status_code, "round 2 is closed" in refused.json()["detail"]) == (409, True)


def test_remarks_and_decisions_are_stored_separately_from_answers(world, client):
    remark = {"client_key": KEY, "sample": sample(0), "kind": "flag", "text": XSS}
    for _ in range(2):
        assert client.post("/api/remarks", json=remark).status_code == 204
    assert [each.reason for each in world.store.events("flag", "tiny")] == [XSS]
    decision = {"client_key": KEY, "sample": sample(0), "label": "bad"}
    reviewer = world.client("reviewer")
    assert reviewer.post("/api/decisions", json=decision).status_code == 204
    assert [each.label for each in decisions(world.store, "tiny").values()] == ["bad"]
    assert reviewer.post("/api/decisions", json={**decision, "label": "x"}).status_code == 422


BATCH = {
    "task": "mood",
    "domain": "mail",
    "samples": [
        {"text": XSS, "why": XSS, "probabilities": {"bad": 0.3, "good": 0.7}, "priority": 2},
        {"text": "fine", "id": "m-2", "votes": 2, "hide_prediction": True},
        {"text": "known", "gold": "good"},
    ],
}


def test_a_batch_is_submitted_labeled_and_exported(world, client):
    reviewer = world.client("reviewer")
    first = reviewer.post("/api/batches/mails", json=BATCH).json()
    assert first["new"] == 3
    again = reviewer.post("/api/batches/mails", json=BATCH).json()
    assert again == {"new": 0, "sample_ids": first["sample_ids"]}
    held = client.get("/api/questions?batch=mails").json()
    assert [each["text"] for each in held] == [XSS, "fine"]
    assert world.store.progress("tiny", 2) == (0, 96)
    body = {"client_key": KEY, "samples": [held[0]["sample"]], "label": "good"}
    assert client.post("/api/answers?batch=mails", json=body).json() == {"saved": 1}
    progress = client.get("/api/progress?batch=mails").json()
    assert progress == {"done": 1, "asked": 2, "by_you": 1, "left_for_you": 1}
    rows = [json.loads(line) for line in reviewer.get("/api/labels?batch=mails").text.splitlines()]
    assert [(row["text"], row["label"]) for row in rows] == [(XSS, "good"), ("fine", None)]
    assert rows[0]["sample_id"] == first["sample_ids"][0]
    assert (
        XSS in client.get("/items?batch=mails").text
        or "fine" in client.get("/items?batch=mails").text
    )


def test_a_batch_can_refer_to_samples_in_the_pool(world):
    reviewer = world.client("reviewer")
    here = {"task": "digits", "domain": "scans"}
    known = {**here, "samples": [{"sample_id": str(ids(PICTURES, 1)[0])}]}
    assert reviewer.post("/api/batches/again", json=known).json()["new"] == 1
    (held,) = world.client("annotator").get("/api/questions?batch=again").json()
    assert held["image"] == f"images/digits/{ids(PICTURES, 1)[0]}"
    image = world.client("annotator").get(f"/{held['image']}?batch=again")
    assert image.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "samples",
    [
        [{"text": "a", "sample_id": "1"}],
        [{}],
        [{"sample_id": "77"}],
        [{"text": "a", "gold": "worst"}],
        [{"text": "a", "probabilities": {"worst": 1}}],
        [{"text": "a", "probabilities": {"bad": 2}}],
    ],
)
def test_a_batch_with_an_invalid_sample_is_rejected_completely(still_world, samples):
    body = {"task": "mood", "domain": "posts", "samples": [{"text": "ok"}, *samples]}
    reviewer = still_world.client("reviewer")
    assert reviewer.post("/api/batches/bad", json=body).status_code == 422
    assert still_world.store.questions("tiny/bad") == []


def without_time(answers):
    names = ("sample_id", "annotator", "label", "round")
    return sorted(tuple(str(getattr(each, name)) for name in names) for each in answers)


@pytest.mark.parametrize("format", ["jsonl", "csv", "label_studio", "prodigy"])
def test_exported_labels_can_be_imported_unchanged(world, format, tmp_path):
    world.store.record(
        [
            answer(ids(TEXT, 2)[0], "ann", "good", seconds=2.5),
            answer(ids(TEXT, 2)[0], "=bob", None, reason=XSS),
            answer(ids(PICTURES, 2)[3], "ann", "neither", PICTURES),
        ],
        ["a", "b", "c"],
    )
    content = world.client("reviewer").get(f"/api/labels?format={format}").content
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    admin = other.client("admin")
    for new in (3, 0):
        response = admin.post(f"/api/labels?format={format}", content=content)
        assert response.json() == {"read": 3, "new": new}
    assert without_time(other.store.answers("tiny")) == without_time(world.store.answers("tiny"))
    other.store.close()


@pytest.mark.parametrize("format", ["jsonl", "csv", "label_studio", "prodigy"])
def test_every_export_has_remarks_reasons_and_who_reviewed(world, format):
    first = answer(ids(TEXT, 2)[0], "ann", None, reason="no label fits")
    world.store.record([first], ["a"])
    for kind in ("flag", "note"):
        world.store.record_as(kind, [replace(first, reason=f"{kind} of ann")], [kind])
    decide(world.store, replace(first, annotator="rev", label="good"), "d")
    content = world.client("reviewer").get(f"/api/labels?format={format}").text
    for said in ("no label fits", "flag of ann", "note of ann", "rev"):
        assert said in content


@pytest.mark.parametrize("format", ["jsonl", "csv", "label_studio", "prodigy"])
@pytest.mark.parametrize("content", [b"\xff", b"{}", b"[1]", b'{"votes": 1}', b"[[[", b"null"])
def test_files_in_another_format_are_rejected(still_world, format, content):
    response = still_world.client("admin").post(f"/api/labels?format={format}", content=content)
    assert (response.status_code, list(response.json())) == (422, ["detail"])


def test_the_csv_export_has_texts_and_labels_as_they_came_in(world):
    texts = ["@home", "=1+1", "-5 degrees", "+1 for this", "'quoted'", " 5\r\n6 ", "x" * 40_000]
    samples = [{"text": text, "id": str(i)} for i, text in enumerate(texts)]
    body = {"task": "mood", "domain": "api", "samples": samples}
    found = world.client("reviewer").post("/api/batches/signs", json=body).json()
    answers = [
        Answer("tiny/signs", "mood", "api", int(sample_id), "=bob", "good", 1)
        for sample_id in found["sample_ids"]
    ]
    world.store.record(answers, [str(i) for i in range(len(texts))])
    content = world.client("reviewer").get("/api/labels?format=csv&batch=signs").content
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["sample"] for row in rows] == texts
    assert {row["annotator"] for row in rows} == {"=bob"}


def test_the_label_studio_export_has_its_task_format(world):
    given = answer(ids(TEXT, 2)[0], "ann", "good", seconds=2.5, submitted_at=0.5)
    world.store.record([given], ["a"])
    tasks = world.client("reviewer").get("/api/labels?format=label_studio").json()
    (task,) = [task for task in tasks if task["annotations"]]
    choice = {"from_name": "label", "to_name": "text", "type": "choices"}
    assert task["data"].keys() == {"text"}
    assert task["annotations"] == [
        {
            "result": [{**choice, "value": {"choices": ["good"]}}],
            "was_cancelled": False,
            "lead_time": 2.5,
            "created_at": "1970-01-01T00:00:00.500000+00:00",
            "reason": None,
            "completed_by": {"email": "ann"},
        }
    ]
    assert task["predictions"][0]["score"] == 0.75


def prodigy_row(sample_id, label, **changes):
    row = {"text": "x", "accept": [label], "answer": "accept", "_annotator_id": "dora"}
    row["meta"] = {"task": "mood", "sample_id": str(sample_id)}
    return {name: value for name, value in (row | changes).items() if value is not None}


def label_studio_row(sample_id, **changes):
    choice = {"from_name": "label", "to_name": "text", "type": "choices"}
    annotation = {"result": [{**choice, "value": {"choices": ["good"]}}], "was_cancelled": False}
    annotation |= {"completed_by": {"email": "dora"}, **changes}
    return {"meta": {"task": "mood", "sample_id": str(sample_id)}, "annotations": [annotation]}


@pytest.mark.parametrize(
    ("format", "bad", "reason"),
    [
        ("prodigy", {"accept": []}, "row 2: accept is empty: nothing was chosen"),
        ("prodigy", {"_annotator_id": None}, "row 2: '_annotator_id' is missing"),
        ("prodigy", {"accept": ["god"]}, "row 2: task mood: label 'god' (did you mean 'good'?)"),
        ("label_studio", {"result": []}, "row 2: the result has no choice"),
        ("label_studio", {"completed_by": 3}, "row 2: completed_by must be {email: ...}, found 3"),
    ],
)
def test_a_row_that_cannot_be_used_is_reported_and_the_others_are_read(world, format, bad, reason):
    first, second, third = ids(TEXT, 2)[:3]
    if format == "prodigy":
        rows = [prodigy_row(first, "good"), prodigy_row(second, "good", **bad)]
        rows.append(prodigy_row(third, "bad"))
        content = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        rows = [label_studio_row(first), label_studio_row(second, **bad), label_studio_row(third)]
        content = json.dumps(rows)
    admin = world.client("admin")
    for new in (2, 0):
        response = admin.post(f"/api/labels?format={format}", content=content)
        assert response.status_code == 200
        found = response.json()
        assert (found["read"], found.get("new", 0), found["bad"]) == (2, new, 1)
        assert found["problems"][0].startswith(reason)
    assert {each.sample_id for each in world.store.answers("tiny")} == {first, third}


@pytest.mark.parametrize("format", ["jsonl", "prodigy", "label_studio"])
def test_a_key_that_a_row_has_twice_is_named(still_world, format):
    row = '{"task": "mood", "task": "mood"}'
    content = f"[{row}]" if format == "label_studio" else row
    response = still_world.client("admin").post(f"/api/labels?format={format}", content=content)
    assert response.status_code == 422
    assert response.json()["detail"].endswith("the key 'task' is given twice")


def test_a_label_comes_back_when_it_is_imported_after_another_one(world):
    sample = ids(TEXT, 2)[0]
    admin = world.client("admin")
    for label in ("good", "bad", "good"):
        content = json.dumps(prodigy_row(sample, label))
        assert admin.post("/api/labels?format=prodigy", content=content).json()["new"] == 1
    (given,) = world.store.answers("tiny")
    assert given.label == "good"
    before = given.submitted_at
    admin.post("/api/labels?format=prodigy", content=content)
    assert world.store.answers("tiny")[0].submitted_at == before
