"""The endpoint on Ray Serve."""

import numpy as np
import pytest

pytestmark = pytest.mark.ray

MEASURES = ("confidence", "disagreement", "score", "margin", "entropy", "mutual_information")


def test_scores_are_those_of_the_round(server):
    run = server.campaign.run
    for part in run.parts[:2]:
        texts = run.storage.read_table(part.key("pool"), ["text"])["text"].to_pylist()[:8]
        table = run.storage.read_table(part.key("rounds/0002/scores")).slice(0, 8)
        answer = server.post("/v1/score", {"samples": [{"text": text} for text in texts]}).json()
        for name in MEASURES:
            found = [each[name] for each in answer["results"]]
            np.testing.assert_allclose(found, table[name].to_numpy(), atol=1e-4)
        labels = [each["label"] for each in answer["results"]]
        assert labels == [run.classes["mood"][i] for i in table["label_1"].to_pylist()]
        best = [max(each["probabilities"].values()) for each in answer["results"]]
        np.testing.assert_allclose(best, table["prob_1"].to_numpy(), atol=1e-4)
