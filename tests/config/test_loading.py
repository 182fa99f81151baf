import pytest
import yaml

from tests import tiny
from umc_ray.config.loading import load_campaign


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("encoder", "{folder}/encoder"),
        ("./owner/name", "{folder}/owner/name"),
        ("/models/name", "/models/name"),
        ("owner/name", "owner/name"),
        ("owner/name@v1.0", "owner/name@v1.0"),
        ("models/name", "{folder}/models/name"),
        ("models/missing", "{folder}/models/missing"),
    ],
)
def test_a_model_of_a_hub_is_what_no_folder_is(tmp_path, path, expected):
    (tmp_path / "models" / "name").mkdir(parents=True)
    values = tiny.campaign(tmp_path)
    values["tasks"]["mood"]["encoder"] = {"kind": "transformers", "path": path}
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump(values))
    found = load_campaign(file).tasks["mood"].encoder.path
    assert found == expected.format(folder=tmp_path)
