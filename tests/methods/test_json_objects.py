import json

import pytest

from umc_ray.methods.json_objects import (
    RepeatedKey,
    TooManyCommas,
    TooManyKeys,
    read_bounded,
    unique_keys,
)


def test_an_object_keeps_its_keys_in_order():
    assert list(unique_keys([("b", 1), ("a", 2)]).items()) == [("b", 1), ("a", 2)]


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 1}', '[{"c": {"a": 1, "\\u0061": 2}}]'])
def test_a_key_that_is_given_twice_is_named(text):
    with pytest.raises(RepeatedKey, match="the key 'a' is given twice"):
        json.loads(text, object_pairs_hook=unique_keys)


def test_a_long_key_is_cut_and_what_one_cannot_see_is_escaped():
    error = RepeatedKey("\n" + "x" * 1000)
    assert str(error) == f"the key '\\n{'x' * 99}' is given twice"


def test_a_client_hears_the_name_of_a_key_that_is_known():
    assert RepeatedKey("text").to_client({"text"}) == "the key 'text' is given twice"
    assert "s3cret" not in RepeatedKey("s3cret").to_client({"text"})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[1,2,3]", TooManyCommas),
        (b'{"a": ",,"}', TooManyCommas),
        (b'{"a": 1, "a": 2}', RepeatedKey),
        (b"[" * 100_000, ValueError),
        (b"\xff", ValueError),
        ("[1]".encode("utf-16"), ValueError),
        (b"", ValueError),
    ],
)
def test_json_out_of_bounds_is_refused(body, error):
    with pytest.raises(error):
        read_bounded(body, most_commas=1)


def test_an_object_has_at_most_so_many_keys():
    most = {f"k{i}": i for i in range(1000)}
    assert read_bounded(json.dumps(most).encode(), 1000) == most
    with pytest.raises(TooManyKeys, match="an object has more than 1000 keys"):
        read_bounded(json.dumps(most | {"k": 0}).encode(), 1000)
