"""A campaign on three nodes that loses its allocator asks people the same as on one."""

import time

import pytest

from tests.tiny import campaign, end, results, start_umc, write_campaign

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]


def test_a_campaign_on_three_nodes_loses_its_allocator(reference, cluster, tmp_path):
    values = campaign(tmp_path, budget={"labels": 60, "per_round": 30})
    path, run = write_campaign(tmp_path, values), tmp_path / "runs/tiny"
    process = start_umc("run", path, **cluster.environment)
    try:
        killed = [kill_allocator(process, cluster, run, number) for number in (1, 2)]
        manifest, _ = process.communicate()
    finally:
        end(process)
    assert process.returncode == 0, manifest
    assert len(set(killed)) == 2
    found = results(run)
    assert len(found) == 4  # a batch and its labels, in two rounds
    assert found.items() <= results(reference.storage).items()


def kill_allocator(driver, cluster, run, number):
    """Kill it when it has planned a round that it shall still learn from."""
    while not (run / f"rounds/{number:04d}/allocation.json").exists():
        assert driver.poll() is None, driver.stdout.read()
        time.sleep(0.005)
    allocator = cluster.kill_allocator()
    assert not (run / f"rounds/{number:04d}/bandit.json").exists()
    return allocator.pid
