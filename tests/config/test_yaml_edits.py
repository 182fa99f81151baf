import pytest
import yaml

from umc_ray.config.yaml_file import write_values
from umc_ray.errors import ConfigError

BLOCK = """\
# a campaign
tasks:
  mood:
    labels:        # two
      - bad    # first
      - "good" # second

    # where texts come from
    encoder: {kind: static_text}
"""
FLOW = 'tasks: {mood: {labels: [bad, "good"], encoder: {kind: static_text}}}  # short\n'
ALIAS = "tasks:\n  mood:\n    labels: &two [bad, good]\n  other: {labels: *two}\n"
VALUES = {"labels": ["bad", "no: 1", "größer"], "synonyms": {"good": "no: 1"}}


@pytest.mark.parametrize(
    "text", [BLOCK, FLOW, BLOCK.replace("    labels", "    synonyms: {}\n    labels")]
)
def test_only_the_values_change(tmp_path, text):
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    write_values(path, ["tasks", "mood"], VALUES)
    after = path.read_text(encoding="utf-8")
    found = yaml.safe_load(after)["tasks"]["mood"]
    assert found == {**VALUES, "encoder": {"kind": "static_text"}}
    for line in ("# a campaign", "# where texts come from", "# short"):
        assert (line in after) == (line in text)


def test_values_that_others_share_are_not_changed(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(ALIAS)
    with pytest.raises(ConfigError, match=r"cannot edit .*set by hand, in tasks.mood: \{labels"):
        write_values(path, ["tasks", "mood"], VALUES)
    assert path.read_text() == ALIAS
