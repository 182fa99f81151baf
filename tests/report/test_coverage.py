"""How much of a pool the labeled samples cover. Suffixes: N samples, L labeled ones."""

import numpy as np
import pytest

from umc_ray.campaign.history import History
from umc_ray.methods.diversity import vendi
from umc_ray.records import embeddings_array
from umc_ray.report.coverage import DRAWS, diversity, task_samples


def test_labeled_samples_are_compared_with_as_many_random_ones(finished):
    history = History.of(finished)
    labeled = set(history.batches["sample_id"].to_pylist())
    ids, embeddings = [], []
    for part in finished.pools:
        if part.domain_key.task == "mood":
            table = finished.storage.read_table(part.key(history.features("mood")))
            ids += table["sample_id"].to_pylist()
            embeddings.append(embeddings_array(table["embedding"]).astype(np.float32))
    x_ND, is_labeled_N = np.concatenate(embeddings), np.isin(ids, list(labeled))
    labeled_LD, open_ND = x_ND[is_labeled_N], x_ND[~is_labeled_N]
    distances_LL = np.linalg.norm(labeled_LD[:, None] - labeled_LD[None], axis=2)
    radii_L = np.sort(distances_LL, axis=1)[:, 5]
    distances_NL = np.linalg.norm(open_ND[:, None] - labeled_LD[None], axis=2)
    found = diversity("mood", task_samples(history, "mood"))
    assert found.samples == len(labeled_LD) == len(x_ND) // 2
    assert found.labeled.coverage[0] == pytest.approx((distances_NL <= radii_L).any(1).mean())
    # Intervals depend on the order.
    assert found.labeled.vendi[0] == pytest.approx(vendi(labeled_LD)[0])
    assert found.pool_vendi[0] == pytest.approx(vendi(x_ND)[0])
    for mean, low, high in (found.random.coverage, found.random.vendi):
        assert low <= mean <= high
    assert found.random.coverage[1] < found.random.coverage[2]  # of several draws
    assert DRAWS > 1
