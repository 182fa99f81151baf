"""What clusters do to a pass: it ends with the same files, and little is done twice."""

import time

import pytest

from tests.integration.faults.conftest import Driver
from tests.integration.faults.passes import PARTS, ask_for, begun, outputs

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(120, func_only=True),
    pytest.mark.long,
]

LITTLE = len(PARTS) // 10


def wait_until_begun(folder, parts):
    while len(begun(folder)) < parts:
        time.sleep(0.005)


def repeated(folder):
    return len(begun(folder)) - len(PARTS)


@pytest.mark.parametrize(("name", "fault"), [("score", "killed"), ("encode", "lost")])
def test_a_pass_loses_its_device_a_process_and_a_node(
    name, fault, cluster, driver, folder, undisturbed
):
    ask_for(folder, fault, PARTS[1], times=1)
    driver.begin(name, folder)
    wait_until_begun(folder, 10)
    cluster.kill_process()
    wait_until_begun(folder, 20)
    cluster.kill_node()
    assert len(begun(folder)) < len(PARTS)
    assert driver.answer() == "done"
    assert outputs(folder, name) == undisturbed[name]
    assert begun(folder).count(PARTS[1].name) == 2
    assert repeated(folder) < LITTLE


def test_a_pass_loses_its_driver_and_is_run_again(cluster, driver, folder, undisturbed):
    first = Driver(cluster.environment)
    first.begin("score", folder)
    wait_until_begun(folder, 20)
    first.kill()
    assert len(begun(folder)) < len(PARTS)
    assert driver.run("score", folder) == "done"
    assert outputs(folder, "score") == undisturbed["score"]
    assert repeated(folder) < LITTLE


def test_a_part_that_costs_one_process_after_another_ends_the_pass(cluster, driver, folder):
    ask_for(folder, "killed", PARTS[5], times=1000)
    answer = driver.run("score", folder)
    assert answer.startswith("StageError: 3 processes died in a row while writing ")
    assert f"{PARTS[5].name}.parquet in {folder}" in answer
    assert begun(folder).count(PARTS[5].name) == 3


def test_a_pass_keeps_to_the_nodes_with_the_labels(cluster, driver, folder):
    assert driver.run("place", folder) == "done"
    assert (folder / "nodes.log").read_text().split() == ["worker-0"] * len(PARTS)
