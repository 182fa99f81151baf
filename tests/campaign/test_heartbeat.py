import threading
import time
from dataclasses import dataclass, field

import pytest

from umc_ray.campaign import heartbeat as running
from umc_ray.campaign.heartbeat import RunningStage, heartbeat, running_stage
from umc_ray.storage import Storage

WITHIN_S = 30


@dataclass(frozen=True)
class Watched(Storage):
    """Tells when it was written to for the n-th time."""

    awaited: int = 1
    written: threading.Event = field(default_factory=threading.Event)
    keys_written: list = field(default_factory=list)

    def write_json(self, key, value):
        super().write_json(key, value)
        self.keys_written.append(key)
        if len(self.keys_written) >= self.awaited:
            self.written.set()


def beat():
    pass


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(running, "PATIENCE_S", 0)
    monkeypatch.setattr(running, "SIGN_EVERY_S", 0.001)


def test_a_stage_at_work_has_a_note_that_goes_when_it_ends(impatient, tmp_path):
    storage = Watched(str(tmp_path))
    assert running_stage(storage) is None
    with heartbeat(storage, "encode", beat):
        assert storage.written.wait(WITHIN_S)
        assert running_stage(storage).stage == "encode"
    assert running_stage(storage) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_note_is_signed_as_long_as_the_stage_runs(impatient, tmp_path):
    storage, beats = Watched(str(tmp_path), awaited=3), []
    with heartbeat(storage, "encode", lambda: beats.append(1)):
        assert storage.written.wait(WITHIN_S)
        note = running_stage(storage)
    assert note.seen > note.since
    assert len(beats) >= 3


def test_a_stage_that_fails_takes_its_note_away(impatient, tmp_path):
    storage = Watched(str(tmp_path))
    with pytest.raises(ZeroDivisionError), heartbeat(storage, "encode", beat):
        assert storage.written.wait(WITHIN_S)
        raise ZeroDivisionError
    assert running_stage(storage) is None


def test_a_short_stage_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "PATIENCE_S", 3600)
    storage = Watched(str(tmp_path))
    with heartbeat(storage, "random_orders", beat):
        pass
    assert storage.keys_written == []


def test_a_stage_goes_on_where_no_note_can_be_written(impatient, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with heartbeat(Storage(str(tmp_path / "file")), "encode", beat):
        while not caplog.records:  # until the note is refused
            time.sleep(0.001)
    assert "encode runs on without a note" in caplog.text


def test_a_process_without_a_sign_of_life_is_lost():
    note = RunningStage("encode", since=1000.0, seen=2000.0)
    assert not note.is_lost(now=2000.0 + running.LOST_AFTER_S)
    assert note.is_lost(now=2001.0 + running.LOST_AFTER_S)
