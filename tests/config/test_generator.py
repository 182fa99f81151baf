"""Generators in the campaign file."""

import pytest

from umc_ray.config.generator import OPTIONS, GeneratorConfig


def test_an_option_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="kind transforms has no temperature"):
        GeneratorConfig(kind="transforms", temperature=0.5)


@pytest.mark.parametrize("values", [{}, {"path": "model", "url": "http://x/v1", "model": "m"}])
def test_a_language_model_is_a_folder_or_an_endpoint(values):
    with pytest.raises(ValueError, match="path or url: one of the two"):
        GeneratorConfig(kind="language_model", **values)


@pytest.mark.parametrize("values", [{"url": "http://x/v1"}, {"path": "m", "model": "m"}])
def test_an_endpoint_needs_the_name_of_its_model(values):
    with pytest.raises(ValueError, match="belong together"):
        GeneratorConfig(kind="language_model", **values)


def test_options_name_fields_and_kinds_that_are_there():
    kinds = GeneratorConfig.model_fields["kind"].annotation.__args__
    assert set(OPTIONS) <= set(GeneratorConfig.model_fields)
    assert {kind for known in OPTIONS.values() for kind in known} <= set(kinds)
