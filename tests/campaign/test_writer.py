import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests import tiny
from umc_ray.campaign import writer
from umc_ray.campaign.writer import FOLDER, LOST_AFTER_S, Claim, sole_writer
from umc_ray.config.loading import load_campaign
from umc_ray.errors import Busy
from umc_ray.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "runs/tiny"))


def claim(**changes):
    """The claim of this process."""
    return replace(writer._own_claim(), user="ann", **changes)


def leave(storage, left):
    storage.write_record(f"{FOLDER}/other/claim.json", left)


def test_the_second_is_told_who_works_and_the_next_one_comes_in(storage):
    with sole_writer(storage):
        with pytest.raises(Busy) as raised, sole_writer(storage):
            pass
        assert f"process {os.getpid()} of " in str(raised.value)
        assert f" on {socket.gethostname()}, since " in str(raised.value)
    with sole_writer(storage):
        assert len(storage.keys(FOLDER)) == 1
    assert storage.keys(FOLDER) == []


def test_who_fails_gives_the_run_directory_back(storage):
    with pytest.raises(ZeroDivisionError), sole_writer(storage):
        _ = 1 / 0
    assert storage.keys(FOLDER) == []


def test_a_process_that_is_gone_holds_nothing(storage):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    leave(storage, claim(pid=process.pid))
    with sole_writer(storage):
        assert len(storage.keys(FOLDER)) == 1


def test_another_process_with_the_number_of_a_dead_one_holds_nothing(storage):
    leave(storage, claim(started=writer._started(os.getpid()) - 3600))
    with sole_writer(storage):
        assert len(storage.keys(FOLDER)) == 1


ELSEWHERE = [
    {"host": "elsewhere", "place": "elsewhere"},
    {"place": f"{socket.gethostname()} of another container"},
]
CLAIM = f"{FOLDER}/other/claim.json"


class Clock:
    """Time that passes while one sleeps."""

    strftime, localtime = time.strftime, time.localtime

    def __init__(self, while_asleep):
        self.now, self.while_asleep = time.time(), while_asleep

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.while_asleep()


@pytest.fixture
def asleep(monkeypatch):
    """What happens while a process watches the claim of another one."""
    happens = []
    monkeypatch.setattr(writer, "time", Clock(lambda: [each() for each in happens]))
    return happens


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("age", [5, LOST_AFTER_S - 5])
def test_a_process_elsewhere_holds_while_its_claim_is_renewed(storage, where, age):
    leave(storage, claim(**where, pid=1, seen=time.time() - age))
    named = f"process 1 of ann on {where.get('host', socket.gethostname())}"
    with pytest.raises(Busy, match=named), sole_writer(storage):
        pass
    assert storage.keys(FOLDER) == [CLAIM]


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("age", [LOST_AFTER_S + 5, -365 * 86_400])
def test_a_claim_that_nobody_renews_is_taken_over(storage, asleep, where, age):
    leave(storage, claim(**where, pid=1, seen=writer.time.time() - age))
    with sole_writer(storage):
        assert CLAIM not in storage.keys(FOLDER)


@pytest.mark.parametrize("age", [LOST_AFTER_S + 300, -300])
def test_a_claim_that_is_renewed_by_another_clock_is_held(storage, asleep, age):
    other = claim(**ELSEWHERE[0], seen=writer.time.time() - age)
    leave(storage, other)
    asleep.append(lambda: leave(storage, replace(other, seen=other.seen + 10)))
    with pytest.raises(Busy), sole_writer(storage):
        pass
    assert storage.keys(FOLDER) == [CLAIM]


def test_a_claim_that_is_given_back_while_it_is_watched_holds_nothing(storage, asleep):
    leave(storage, claim(**ELSEWHERE[0], seen=0.0))
    asleep.append(lambda: storage.delete(f"{FOLDER}/other"))
    with sole_writer(storage):
        assert len(storage.keys(FOLDER)) == 1


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="other systems have no ticks")
def test_a_clock_that_is_set_does_not_move_the_start_of_a_process(monkeypatch):
    started = writer._started(os.getpid())
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: time.time() + 3600)
    assert writer._started(os.getpid()) == started


def test_a_claim_is_renewed(storage, monkeypatch):
    monkeypatch.setattr(writer, "BEAT_EVERY_S", 0.001)
    with sole_writer(storage):
        (key,) = storage.keys(FOLDER)
        first = storage.read_record(key, Claim)
        while (now := storage.read_record(key, Claim)).seen == first.seen:
            assert time.time() < first.since + 30
    assert now.since == first.since


def test_the_command_line_says_who_runs_the_campaign(tmp_path):
    path = tiny.write_campaign(tmp_path, tiny.campaign(tmp_path))
    config = load_campaign(path)
    with sole_writer(Storage(f"{config.storage}/{config.name}")):
        process = tiny.start_umc("run", path)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 5
    assert f"process {os.getpid()} of " in " ".join(output.split())
