import json

import pytest

from umc_ray.methods.json_objects import RepeatedKey, unique_keys


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
