"""`umc score`: new data through the published specialists of a finished campaign.

Suffixes: N samples, C classes.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.tiny import campaign, texts, write_campaign, write_csv
from umc_ray.bulk_scoring import score_new
from umc_ray.campaign.publish import read_published
from umc_ray.campaign.run import Run
from umc_ray.cluster.stream import run_item
from umc_ray.config.loading import load_campaign
from umc_ray.encoders.registry import load_encoder
from umc_ray.errors import ConfigError, DataError, StoreError
from umc_ray.records import DomainKey
from umc_ray.specialists.ensemble import load_ensemble
from umc_ray.storage import Storage

pytestmark = pytest.mark.ray

POSTS = DomainKey("mood", "posts")


ROWS = texts(45, seed=5)


@pytest.fixture(scope="module")
def whole(reference, tmp_path_factory):
    """New data, scored: the folder of both, and what was found."""
    folder = tmp_path_factory.mktemp("scoring")
    write_csv(folder / "new.csv", [*ROWS, {"text": "", "label": ""}])
    before = reference.storage.keys("")
    found = score_new(reference, str(folder / "new.csv"), POSTS, str(folder / "out"))
    assert reference.storage.keys("") == before
    return folder, found


def scored(folder):
    output = Storage(str(folder))
    keys = [key for key in output.keys("") if key.startswith("part-")]
    return output, pa.concat_tables([output.read_table(key) for key in keys])


def test_new_data_is_scored_with_the_published_specialists(reference, whole):
    folder, found = whole
    assert (found.rows, found.bad) == (45, 1)
    output, table = scored(folder / "out")
    (bad,) = output.read_table("quarantine/00000.parquet").to_pylist()
    assert (bad["source"], bad["row"]) == (str(folder / "new.csv"), "46")
    assert {key.split("/")[0] for key in output.keys("")} == {
        "part-00000.parquet",
        "part-00001.parquet",
        "part-00002.parquet",
        "quarantine",
    }
    published = read_published(reference.storage).ensembles["mood"]
    ensemble = load_ensemble(reference.storage, published.ref, reference.kinds["mood"])
    encoder = load_encoder(reference.config.tasks["mood"].default_encoder_config)
    embeddings = {"static_text": encoder.encode([row["text"] for row in ROWS])}
    mean_NC = ensemble.measures(embeddings, POSTS.domain).mean_NC.numpy()
    labels = np.array(["bad", "good"])
    assert table["label_1"].to_pylist() == labels[mean_NC.argmax(1)].tolist()
    assert table["label_2"].to_pylist() == labels[mean_NC.argmin(1)].tolist()
    np.testing.assert_allclose(table["prob_1"].to_numpy(), mean_NC.max(1), atol=1e-3)
    assert table["key"].to_pylist() == [f"new.csv#{i}" for i in range(1, 46)]
    right = np.array(table["label_1"].to_pylist()) == [row["label"] for row in ROWS]
    assert right.mean() > 0.9


def test_probabilities_are_added_on_request(reference, whole, tmp_path):
    folder, _ = whole
    score_new(reference, str(folder / "new.csv"), POSTS, str(tmp_path), probabilities=True)
    table, without = scored(tmp_path)[1], scored(folder / "out")[1]
    assert table.column_names == [*without.column_names, "probability_bad", "probability_good"]
    same = table.select(without.column_names).to_pandas()
    pd.testing.assert_frame_equal(same, without.to_pandas(), rtol=1e-5, atol=1e-6)
    rows = table.to_pylist()
    assert [row[f"probability_{row['label_1']}"] for row in rows] == [r["prob_1"] for r in rows]


def test_a_pass_that_was_cut_short_goes_on(reference, whole, monkeypatch):
    folder, _ = whole
    source, cut = str(folder / "new.csv"), str(folder / "cut")

    def first_part_only(worker, parts, on_rows):
        run_item(worker, parts[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("umc_ray.bulk_scoring.score_parts", first_part_only)
        score_new(reference, source, POSTS, cut)

    score_new(reference, source, POSTS, cut)
    resumed, undisturbed = (scored(each)[1].to_pandas() for each in (cut, folder / "out"))
    # The first part was scored in this process, whose threads add in another order.
    pd.testing.assert_frame_equal(resumed, undisturbed, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_scored_is_told(reference, tmp_path):
    with pytest.raises(ConfigError, match="no domain mood/none, the campaign has mood/reviews, "):
        score_new(reference, "new.csv", DomainKey("mood", "none"), str(tmp_path / "out"))
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        score_new(reference, str(tmp_path / "none.csv"), POSTS, str(tmp_path / "out"))
    fresh = Run(load_campaign(write_campaign(tmp_path, campaign(tmp_path))))
    with pytest.raises(StoreError, match="tiny has no specialists yet: no round is finished"):
        score_new(fresh, "new.csv", POSTS, str(tmp_path / "out"))
