import numpy as np
import pyarrow as pa
import pytest

from tests.ingest.test_validate import outcome
from umc_ray.ingest.embeddings import given_embedding
from umc_ray.ingest.sources import BadRow


def test_a_list_of_numbers_is_an_embedding():
    found_D = given_embedding([1, -0.5, 0.0], 3)
    assert found_D.dtype == np.float32
    assert found_D.tolist() == [1, -0.5, 0]
    half = pa.array([[1, -0.5, 0]], pa.list_(pa.float16())).to_pylist()[0]
    assert given_embedding(half, 3).tolist() == [1, -0.5, 0]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "missing embedding"),
        (float("nan"), "missing embedding"),
        ("[1, 2, 3]", "wrong type: embedding is str, not a list of numbers"),
        ([1, 2], "wrong dimension: the embedding has 2 numbers, dimension is 3"),
        ([], "wrong dimension: the embedding has 0 numbers, dimension is 3"),
        ([1, None, 3], "wrong type: the embedding has something in it that is not a number"),
        ([1, "2", 3], "wrong type: the embedding has something in it that is not a number"),
        ([True, 2, 3], "wrong type: the embedding has something in it that is not a number"),
        ([[1], 2, 3], "wrong type: the embedding has something in it that is not a number"),
        ([1, float("nan"), 3], "not finite: number 2 of the embedding is nan"),
        ([1, 2, float("-inf")], "not finite: number 3 of the embedding is -inf"),
        ([1e300, 2, 3], "not finite: number 1 of the embedding is 1e+300"),
    ],
)
def test_anything_else_is_a_bad_row(value, reason):
    with pytest.raises(BadRow) as error:
        given_embedding(value, 3)
    assert str(error.value) == reason


def test_a_row_is_checked_with_its_embedding():
    values = {"body": "good", "id": 7, "y": "yes", "v": [3, 4]}
    rules = {"ratings": None, "embedding": "v", "dimension": 2}
    assert outcome(values, **rules).embedding.tolist() == [3, 4]
    assert outcome({**values, "v": [3]}, **rules).startswith("wrong dimension")
    assert outcome(values, ratings=None).embedding is None
