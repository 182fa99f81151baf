"""A driver is stopped or killed in the middle of a stage; the next run goes on as if never."""

import sqlite3
import time
from pathlib import Path

import psutil
import pytest

from tests.listening import reached_from_elsewhere
from tests.tiny import campaign, kill_all, results, write_campaign
from umc_ray.annotation.store import AnnotationStore
from umc_ray.cli import STOPPED_EXIT

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ENDS_WITHIN_S = 60


def in_annotation(run, number):
    """Some answers of the round are stored, its labels are not."""
    before = 90 * (number - 1)
    return len(answers(run)) > before and not (run / f"rounds/{number:04d}/labels.parquet").exists()


def in_training(run, number):
    trained = list(run.glob(f"models/mood/{number:04d}/*/model.safetensors"))
    return trained and not (run / f"rounds/{number:04d}/training.json").exists()


def in_scoring(run, number):
    folder = run / f"rounds/{number:04d}"
    return list(folder.glob("scores/*/*/*/*.parquet")) and not (folder / "scores.json").exists()


def answers(run):
    """All answers as they are stored, oldest first."""
    if not (run / "labels.db").exists():
        return []
    database = sqlite3.connect(f"file:{run}/labels.db?mode=ro", uri=True)
    try:
        return database.execute(
            "select id, question_id, annotator, label, submitted_at from events order by id"
        ).fetchall()
    except sqlite3.OperationalError:  # no tables yet
        return []
    finally:
        database.close()


def stop_when(process, happens):
    """Tell a driver to stop in the middle of something, and let it end."""
    while not happens():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.001)
    process.terminate()
    manifest, _ = process.communicate()
    assert process.returncode == STOPPED_EXIT, manifest
    assert "stopped by SIGTERM: what is done is stored" in manifest


def kill_when(process, happens):
    """Kill a driver in the middle of something; returns what it leaves, by name."""
    driver = psutil.Process(process.pid)
    while process.poll() is None:
        if happens():
            driver.suspend()  # so that it is still so when it is killed
            if happens():
                left = {each: each.name() for each in driver.children(recursive=True)}
                assert reached_from_elsewhere(process) == set()
                driver.kill()
                process.wait()
                return left
            driver.resume()
        time.sleep(0.001)
    return pytest.fail(f"the moment never came: {process.stdout.read()}")


def let_end(processes):
    """Wait until the processes of a driver's Ray have ended; returns those that have not.

    Two agents would look for the rest of their Ray for a minute before they end: they are not
    waited for.
    """
    agents = {each for each, name in processes.items() if name.endswith("Agent")}
    _, alive = psutil.wait_procs(processes.keys() - agents, timeout=ENDS_WITHIN_S)
    kill_all([*agents, *alive])
    return alive


def test_a_stopped_and_a_killed_driver_go_on_as_if_never_ended(reference, tmp_path, umc, umc_here):
    path, run = write_campaign(tmp_path, campaign(tmp_path)), tmp_path / "runs/tiny"
    stop_when(umc("run", path), lambda: in_training(run, 1))
    assert not list(run.glob("running/*"))
    kept = answers(run)
    assert len(kept) == 90
    for number, moment in [(2, in_annotation), (3, in_scoring)]:
        process = umc("run", path)
        left = kill_when(process, lambda moment=moment, number=number: moment(run, number))
        assert "raylet" in left.values()
        assert let_end(left) == []
        assert moment(run, number)
        assert answers(run)[: len(kept)] == kept
        kept = answers(run)
    code, manifest = umc_here("run", path)
    assert code == 0, manifest
    assert "finished: the budget of 90 labels is spent" in manifest
    assert results(run) == results(reference.storage)
    stored = answers(run)
    assert stored[: len(kept)] == kept
    assert len({(question, person) for _, question, person, *_ in stored}) == len(stored) == 270
    assert len(AnnotationStore(f"sqlite:///{run}/labels.db").questions("tiny")) == 90


def test_a_finished_campaign_recomputes_nothing(reference, umc, ray_folder):
    run = Path(reference.storage.root)
    before, stored = written(run), answers(run)
    process = umc("run", run.parent.parent / "campaign.yaml")
    manifest, _ = process.communicate()
    assert process.returncode == 0, manifest
    assert manifest.strip() == "nothing to do: the budget of 90 labels is spent after 3 rounds"
    now = written(run)
    assert [path for path in {*now, *before} if now.get(path) != before.get(path)] == []
    assert answers(run) == stored
    assert not list(ray_folder.iterdir())  # not even a Ray was started


def written(run):
    """When each file of a run was written, but for log, database, frozen values and status."""
    names = {path for path in run.rglob("*") if path.is_file()}
    names -= {run / name for name in ("events.jsonl", "campaign.json", "status.json")}
    names -= {*run.glob("labels.db*"), run / "seals/campaign.json.json"}
    return {path: path.stat().st_mtime_ns for path in names}
