from umc_ray.annotation.remarks import remarks
from umc_ray.annotation.store import Answer, Question
from umc_ray.records import REMARKS


def test_remarks_are_flags_and_notes_oldest_first_without_names(store):
    about = {"campaign": "tiny", "task": "mood", "domain": "posts", "round": 2}
    store.submit([Question(sample_id=i, **about) for i in (1, 2)])
    for at, (kind, i, text) in enumerate([("note", 2, "odd"), ("flag", 1, "broken")], start=1):
        said = Answer(
            sample_id=i, annotator="ann", label=None, reason=text, submitted_at=float(at), **about
        )
        store.record_as(kind, [said], [f"key{at}"])
    found = remarks(store, "tiny")
    assert found.schema == REMARKS
    place = {"task": "mood", "domain": "posts", "round": 2}
    assert found.to_pylist() == [
        {**place, "sample_id": 2, "kind": "note", "text": "odd", "submitted_at": 1.0},
        {**place, "sample_id": 1, "kind": "flag", "text": "broken", "submitted_at": 2.0},
    ]
    assert len(remarks(store, "other")) == 0
