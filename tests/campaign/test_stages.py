from dataclasses import dataclass

import pyarrow as pa
import pytest

from umc_ray.campaign.stages import NULL_LISTENER, Stages
from umc_ray.errors import DataError, StageError, StoreError
from umc_ray.storage import Storage


@dataclass(frozen=True)
class Note:
    """A document of a stage."""

    rows: int
    words: dict[str, tuple[str, ...]]


TABLE = pa.table({"sample_id": [3, 1]})
NOTE = Note(7, {"a": ("b", "c")})


class Heard(list):
    """Writes down what a listener hears."""

    def begin(self, stage, rows):
        self.append((stage, rows))
        return self.append

    def end(self, stage, seconds):
        self.append(stage)


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def stages_of(storage, listener=NULL_LISTENER):
    return Stages(storage, (listener,), lambda: None)


def never(on_rows):
    raise AssertionError("computed twice")


@pytest.mark.parametrize(
    ("key", "kind", "output"), [("r/table.parquet", pa.Table, TABLE), ("r/note.json", Note, NOTE)]
)
def test_what_a_stage_gave_is_stored_and_read_back_as_it_was(storage, key, kind, output):
    stages = stages_of(storage)
    assert stages.run(key, kind, lambda _: output) == output
    assert stages.run(key, kind, never) == output
    assert isinstance(stages.run(key, kind, never), kind)
    events = storage.read_bytes("events.jsonl").decode().splitlines()
    assert len(events) == 1
    assert f'"stage": "{key.split(".")[0]}"' in events[0]
    assert f'"rows": {2 if kind is pa.Table else 7}' in events[0]


def test_a_stored_document_of_another_version_is_an_error_that_names_it(storage):
    storage.write_json("r/note.json", {"rows": 7})
    with pytest.raises(
        StoreError, match=r"r/note\.json of .* is not a Note: words: Field required"
    ):
        stages_of(storage).run("r/note.json", Note, never)


def test_listeners_hear_when_a_stage_begins_goes_on_and_ends(storage):
    heard = Heard()

    def compute(on_rows):
        on_rows(4)
        on_rows(3)
        return NOTE

    stages_of(storage, heard).run("r/note.json", Note, compute, rows=7)
    assert heard == [("r/note", 7), 4, 3, "r/note"]


def test_a_stage_that_fails_says_which_and_what_users_cause_stays_as_it_is(storage):
    def broken(on_rows):
        raise ZeroDivisionError("no rows")

    def bad_data(on_rows):
        raise DataError("line 3")

    stages = stages_of(storage)
    with pytest.raises(StageError, match=r"r/note of .* failed: ZeroDivisionError\('no rows'\)"):
        stages.run("r/note.json", Note, broken)
    with pytest.raises(DataError, match="line 3"):
        stages.run("r/note.json", Note, bad_data)
    assert storage.keys("") == []
