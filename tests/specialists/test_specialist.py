"""What specialists learn from."""

import numpy as np

from umc_ray.specialists.specialist import Examples
from umc_ray.tasks.multi_label import MultiLabel

KIND = MultiLabel(("a", "b"))
TEXTS = ("a", "(none)", "a | b", "b", "a")


def examples():
    return Examples(
        texts_N=TEXTS,
        targets=KIND.encode(TEXTS),
        features={"small": np.arange(10.0).reshape(5, 2), "large": np.arange(15.0).reshape(5, 3)},
        domains_N=np.array(["x", "y", "x", "y", "x"]),
        ids_N=np.arange(5),
        audit_N=np.array([True, False, False, True, False]),
        random_N=np.array([True, True, False, True, False]),
        rounds_N=np.array([1, 1, 2, 2, 3]),
        agreement_N=np.linspace(0.5, 1, 5, dtype=np.float32),
        groups={"sex": np.array(["f", "m", "m", "f", "m"])},
    )


def test_some_of_the_examples_are_the_same_rows_of_everything():
    whole = examples()
    share = whole.rows(slice(1, None, 2))
    assert (len(whole), len(share)) == (5, 2)
    assert share.texts_N == ("(none)", "b")
    assert share.targets.tolist() == [[0, 0], [0, 1]]
    assert {name: x_ND.tolist() for name, x_ND in share.features.items()} == {
        "small": [[2, 3], [6, 7]],
        "large": [[3, 4, 5], [9, 10, 11]],
    }
    assert share.groups["sex"].tolist() == ["m", "f"]
    for name in ("domains_N", "ids_N", "audit_N", "random_N", "rounds_N", "agreement_N"):
        np.testing.assert_array_equal(getattr(share, name), getattr(whole, name)[1::2])


def test_the_shares_of_workers_are_all_examples_once():
    whole = examples()
    ids = [i for rank in range(3) for i in whole.rows(slice(rank, None, 3)).ids_N.tolist()]
    assert sorted(ids) == whole.ids_N.tolist()
