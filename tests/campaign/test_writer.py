import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

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
    now, started = time.time(), psutil.Process().create_time()
    own = Claim("ann", socket.gethostname(), os.getpid(), started, since=now, seen=now)
    return replace(own, **changes)


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
    leave(storage, claim(started=psutil.Process().create_time() - 3600))
    with sole_writer(storage):
        assert len(storage.keys(FOLDER)) == 1


@pytest.mark.parametrize(("age", "holds"), [(LOST_AFTER_S - 5, True), (LOST_AFTER_S + 5, False)])
def test_a_process_on_another_machine_holds_while_its_claim_is_renewed(storage, age, holds):
    leave(storage, claim(host="elsewhere", pid=1, seen=time.time() - age))
    if holds:
        with pytest.raises(Busy, match="process 1 of ann on elsewhere"), sole_writer(storage):
            pass
        assert storage.keys(FOLDER) == [f"{FOLDER}/other/claim.json"]
    else:
        with sole_writer(storage):
            assert f"{FOLDER}/other/claim.json" not in storage.keys(FOLDER)


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
