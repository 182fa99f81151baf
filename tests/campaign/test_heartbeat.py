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
    monkeypatch.setattr(running, "MIN_STAGE_S", 0)
    monkeypatch.setattr(running, "BEAT_EVERY_S", 0.001)


def test_a_running_stage_has_a_heartbeat_that_is_deleted_when_it_ends(impatient, tmp_path):
    storage = Watched(str(tmp_path))
    assert running_stage(storage) is None
    with heartbeat(storage, "encode", beat):
        assert storage.written.wait(WITHIN_S)
        assert running_stage(storage).stage == "encode"
    assert running_stage(storage) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_heartbeat_is_renewed_as_long_as_the_stage_runs(impatient, tmp_path):
    storage, beats = Watched(str(tmp_path), awaited=3), []
    with heartbeat(storage, "encode", lambda: beats.append(1)):
        assert storage.written.wait(WITHIN_S)
        note = running_stage(storage)
    assert note.seen > note.since
    assert len(beats) >= 3


def test_a_stage_that_fails_deletes_its_heartbeat(impatient, tmp_path):
    storage = Watched(str(tmp_path))
    with pytest.raises(ZeroDivisionError), heartbeat(storage, "encode", beat):
        assert storage.written.wait(WITHIN_S)
        raise ZeroDivisionError
    assert running_stage(storage) is None


def test_a_short_stage_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "MIN_STAGE_S", 3600)
    storage = Watched(str(tmp_path))
    with heartbeat(storage, "random_orders", beat):
        pass
    assert storage.keys_written == []


def test_a_stage_continues_where_no_heartbeat_can_be_written(impatient, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with heartbeat(Storage(str(tmp_path / "file")), "encode", beat):
        while not caplog.records:  # until the heartbeat is refused
            time.sleep(0.001)
    assert "cannot write the heartbeat of encode" in caplog.text


def test_a_process_without_a_recent_heartbeat_is_lost():
    note = RunningStage("encode", since=1000.0, seen=2000.0)
    assert not note.is_lost(now=2000.0 + running.LOST_AFTER_S)
    assert note.is_lost(now=2001.0 + running.LOST_AFTER_S)
