"""docs/options.md is what the models of the configuration say."""

from docs import reference
from umc_ray.config.campaign import CampaignConfig
from umc_ray.serving.settings import ServingConfig


def test_the_committed_file_is_up_to_date():
    assert reference.FILE.read_text(encoding="utf-8") == reference.reference(), (
        "run `python -m docs.reference`"
    )


def test_every_option_is_explained():
    for model in (*reference.headings(CampaignConfig).values(), ServingConfig):
        unexplained = [
            name for name, field in model.model_fields.items() if not reference.about(field)
        ]
        assert not unexplained, model
