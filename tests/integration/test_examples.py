"""Each campaign in examples/ runs to its end through the command line."""

import csv
import json
import runpy
import shutil

import numpy as np
import pytest

from tests.tiny import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.slow]

WAITING = 3


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A copy of examples/ with its data."""
    folder = tmp_path_factory.mktemp("checkout") / "examples"
    shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns("data", "runs"))
    runpy.run_path(str(folder / "make_data.py"), run_name="__main__")
    return folder


@pytest.fixture(scope="module")
def known_intents(examples):
    """The intent of each message, by its text."""
    made, rng = runpy.run_path(str(examples / "make_data.py")), np.random.default_rng(0)
    mails, chats = made["messages"](rng, formal=True), made["messages"](rng, formal=False)
    return {text: intent for text, intent, _ in mails + chats}


def fill_in(sheet, known):
    with sheet.open(newline="", encoding="utf-8-sig") as file:
        rows = [{**row, "label": known[row["sample"]]} for row in csv.DictReader(file)]
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def utility(folder, rounds):
    """Accuracy or Jaccard index on the test samples after the last round."""
    metrics = folder / f"runs/{folder.name}/rounds/{rounds:04d}/metrics.json"
    return json.loads(metrics.read_text())["test_utility"]


@pytest.mark.long
def test_texts_are_labeled_in_sheets(examples, known_intents, umc_here):
    folder = examples / "text"
    for number in (1, 2):
        code, said = umc_here("run", folder / "campaign.yaml")
        assert code == WAITING, said
        fill_in(folder / f"runs/text/rounds/{number:04d}/sheet.csv", known_intents)
    code, said = umc_here("run", folder / "campaign.yaml")
    assert code == 0, said
    assert "the budget of 40 labels is spent" in said
    assert utility(folder, 2) > 0.75


@pytest.mark.parametrize(("name", "labels", "least"), [("images", 120, 0.9), ("tags", 90, 0.7)])
def test_recorded_answers_stand_in_for_people(examples, umc_here, name, labels, least):
    folder = examples / name
    code, said = umc_here("run", folder / "campaign.yaml")
    assert code == 0, said
    assert f"the budget of {labels} labels is spent" in said
    assert utility(folder, 3) > least
