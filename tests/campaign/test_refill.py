"""What is decided about what is lacking, and what that gave, without Ray and without training."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.web.worlds import TEXT, write_world
from umc_ray.campaign.documents import Shown, Training
from umc_ray.campaign.refill import (
    decide_refill,
    is_on,
    refill_of,
    search_shares,
    share_to_validate,
    tried_so_far,
)
from umc_ray.campaign.refill_gains import measure_refill
from umc_ray.campaign.run import Run
from umc_ray.campaign.stages import Stages
from umc_ray.config.generator import GeneratorConfig
from umc_ray.config.refine import RefineConfig
from umc_ray.diversity.gaps import DomainGaps, Gaps
from umc_ray.methods.refill import MOST
from umc_ray.methods.with_without import Gain
from umc_ray.records import BATCH, LABELS, STANDINGS
from umc_ray.report.gaps import what_it_gave
from umc_ray.selection.batch import CHECKED, FOR_A_GAP, is_selected, picked_for
from umc_ray.specialists.specialist import Examples, SyntheticRows

BAD = "label bad"
PLAIN, SEARCHED, AUDITS = 20, 16, 4
MADE = {90: "accepted", 91: "fixed", 92: "accepted", 93: "rejected", 94: "rejected"}
HARMFUL = Gain(-0.02, 0.001, 16.0)


@pytest.fixture
def run(tmp_path):
    """A campaign that lacks samples of "bad" after its first round."""
    writer = GeneratorConfig(kind="language_model", url="http://localhost/v1", model="m")
    refine = RefineConfig(share="auto", generators={"writer": writer})
    run = Run(write_world(tmp_path, (TEXT,)).config.model_copy(update={"refine": refine}))
    run.__dict__["stages"] = Stages(run.storage, (), lambda: None)
    learned(run, 1, [])
    with closing(run.store):
        yield run


def learned(run, number, shown, lacking=12.0):
    """Write what a round has learned."""
    folder = f"rounds/{number:04d}"
    gaps = Gaps({str(TEXT): DomainGaps(30, 30, 1.0, rare={"bad": lacking})})
    training = Training(30, {}, {}, {}, {}, {}, refill={str(TEXT): shown})
    run.storage.write_record(f"{folder}/gaps.json", gaps)
    run.storage.write_record(f"{folder}/training.json", training)
    run.storage.write_json(f"{folder}/metrics.json", {})


def decided(run, number):
    decide_refill(run, number)
    return {arm.action: arm for arm in refill_of(run, number).domains[str(TEXT)]}


def test_the_search_is_tried_first_and_has_all_that_is_spent(run):
    arms = decided(run, 2)
    assert {name: arm.state for name, arm in arms.items()} == {
        "search": "on trial",
        "writer": "waits",
    }
    assert search_shares(run, 2, TEXT, 40) == {BAD: MOST}
    assert share_to_validate(run, 2) == 0.0
    assert not is_on(run, 2, TEXT, BAD, "writer")
    assert tried_so_far(run, 2) == [(str(TEXT), arms["search"])]


def test_what_does_not_pay_is_off_and_said_with_its_figures(run):
    decided(run, 2)
    learned(run, 2, [Shown(BAD, "search", 1, HARMFUL)])
    arms = decided(run, 3)
    assert (arms["search"].state, arms["writer"].state) == ("off", "on trial")
    assert search_shares(run, 3, TEXT, 40) == {}
    assert share_to_validate(run, 3) == MOST
    assert is_on(run, 3, TEXT, BAD, "writer")
    said = what_it_gave(arms["search"], True)
    assert said.startswith("search for label bad: off after 1 round: per 100 of cost")
    assert "-1." in said
    said = what_it_gave(arms["writer"], True)
    assert said == "writer for label bad: on trial; planned share of the next round: 50%"
    assert what_it_gave(arms["writer"], False) == "writer for label bad: on trial"


def test_a_decision_is_stored_and_never_made_again(run):
    first = decided(run, 2)
    learned(run, 1, [Shown(BAD, "search", 1, HARMFUL)])
    assert decided(run, 2) == first


def test_a_fixed_share_is_split_by_what_is_lacking_and_needs_no_decision(run):
    fixed = replace(run, config=run.config.model_copy(update={"refine": RefineConfig(share=0.5)}))
    decide_refill(fixed, 2)
    assert refill_of(fixed, 2).domains == {}
    assert search_shares(fixed, 2, TEXT, 40) == {BAD: 0.5}
    assert share_to_validate(fixed, 2) == 0.5
    assert is_on(fixed, 2, TEXT, BAD, "writer")
    validated = pa.table({"sample_id": pa.array(range(10))})
    fixed.storage.write_table("rounds/0002/validation.parquet", validated)
    assert search_shares(fixed, 2, TEXT, 30) == {BAD: pytest.approx(1 / 3)}  # 20 of 40 in all


def test_reasons_say_what_a_sample_was_picked_for():
    why = f"the two are near; {FOR_A_GAP.format('label in; for x, y')}"
    assert picked_for(why) == "label in; for x, y"
    assert not is_selected(why)
    assert picked_for("the two are near") is None
    assert is_selected("the two are near")
    assert not is_selected(CHECKED)


def asked(run):
    """Write what people were asked in round 2, and what has become of what was made."""
    whys = [
        *["it is hard"] * PLAIN,
        *[f"it is hard; {FOR_A_GAP.format(BAD)}"] * SEARCHED,
        *["drawn at random, to measure accuracy"] * AUDITS,
    ]
    places = {"task": "mood", "domain": "posts", "part": "00000", "row": 0}
    batch = [
        {**places, "sample_id": i, "acquisition": 0.0, "audit": i >= PLAIN + SEARCHED, "why": why}
        for i, why in enumerate(whys)
    ]
    label = {"label": "good", "votes": 1, "agreement": 1.0, "round": 2, "cost": 2.0}
    labels = [{**places, "sample_id": row["sample_id"], **label} for row in batch]
    standings = [
        {**places, **label, "sample_id": i, "standing": standing}
        | {"label": "bad" if standing != "rejected" else None, "made_for": "bad"}
        | {"generator": "writer", "gap": "" if i == 90 else BAD, "exemplars": [0]}
        for i, standing in MADE.items()
    ]
    folder = "rounds/0002"
    run.storage.write_table(f"{folder}/batch.parquet", pa.Table.from_pylist(batch, BATCH))
    run.storage.write_table(f"{folder}/labels.parquet", pa.Table.from_pylist(labels, LABELS))
    run.storage.write_table(
        f"{folder}/standings.parquet", pa.Table.from_pylist(standings, STANDINGS)
    )
    run.storage.delete_file("rounds/0001/labels.parquet")
    run.storage.write_table("rounds/0001/labels.parquet", LABELS.empty_table())


def examples():
    """40 real samples, and the three that were made and stand."""
    ids = [*range(PLAIN + SEARCHED + AUDITS), 90, 91, 92]
    n, real = len(ids), PLAIN + SEARCHED + AUDITS
    texts = tuple("bad" if i % 4 == 0 or i >= 90 else "good" for i in ids)
    rng = np.random.default_rng(0)
    return Examples(
        texts_N=texts,
        targets=np.array([text == "good" for text in texts], np.int64),
        features={"text": rng.normal(size=(n, 4)).astype(np.float32)},
        domains_N=np.repeat("posts", n),
        ids_N=np.array(ids),
        audit_N=np.zeros(n, bool),
        random_N=np.zeros(n, bool),
        rounds_N=np.full(n, 2),
        agreement_N=np.ones(n, np.float32),
        synthetic=SyntheticRows(real, np.ones(n, np.float32), np.array(ids)),
    )


def test_what_arms_have_given_is_measured_against_plain_labels_of_equal_cost(run):
    assert measure_refill(run, 1, "mood", "text", examples()) == {}  # nothing was decided
    decided(run, 2)
    asked(run)
    search, writer = measure_refill(run, 2, "mood", "text", examples())[str(TEXT)]
    assert (search.lack, search.action, search.rounds) == (BAD, "search", 1)
    assert search.gain.cost == 2.0 * SEARCHED
    assert (writer.lack, writer.action, writer.rounds) == (BAD, "writer", 1)
    assert writer.gain.cost == 2.0 * len(MADE)  # those that people rejected cost as much
    assert np.isfinite([search.gain.value, search.gain.error]).all()


def test_what_an_arm_gave_before_it_was_tried_again_does_not_count(run):
    arms = decided(run, 2)
    asked(run)
    later = [replace(arm, since=3) for arm in arms.values()]
    run.storage.write_record("rounds/0002/refill.json", {"domains": {str(TEXT): later}})
    shown = measure_refill(run, 2, "mood", "text", examples())[str(TEXT)]
    assert [(each.rounds, each.gain) for each in shown] == [(0, None), (0, None)]
