"""`ray up`: both files pass Ray's validator, and the AWS file starts nodes on a mock of EC2."""

import json
import shlex
from pathlib import Path

import boto3
import jsonschema
import moto
import pytest
import ray
import yaml
from ray.autoscaler._private.aws import node_provider
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

CONFIGS = Path(__file__).parents[2] / "cluster_configs"
CLOUDS = ("aws", "gcp")
TYPES = "available_node_types"
SPOT = {
    "aws": {"InstanceMarketOptions": {"MarketType": "spot"}},
    "gcp": {"provisioningModel": "SPOT"},
}


def load(cloud):
    return yaml.safe_load((CONFIGS / f"{cloud}.yaml").read_text())


def node_types(config):
    """Return the head node type, and the other types by name."""
    types = dict(config[TYPES])
    return types.pop(config["head_node_type"]), types


def is_spot(cloud, node_type):
    node = node_type["node_config"]
    settings = node if cloud == "aws" else node.get("scheduling", {})
    return SPOT[cloud].items() <= settings.items()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_file_follows_rays_schema(cloud):
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    jsonschema.validate(load(cloud), schema)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_ray_accepts_the_file_with_its_defaults_filled_in(cloud):
    config = prepare_config(load(cloud))
    validate_config(config)
    assert config["setup_commands"] == []  # the default installs a nightly Ray


@pytest.mark.parametrize("cloud", CLOUDS)
def test_workers_are_autoscaled_spot_nodes_and_the_head_is_on_demand(cloud):
    config = load(cloud)
    head, workers = node_types(config)
    assert not is_spot(cloud, head)
    assert all(is_spot(cloud, each) and each["min_workers"] == 0 for each in workers.values())
    assert sum(each["max_workers"] for each in workers.values()) == config["max_workers"]
    assert head["resources"] == {"CPU": 0}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nodes_start_ray_with_valid_options_and_a_dashboard_on_loopback(cloud):
    config = load(cloud)
    for command in (config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]):
        words = shlex.split(command.partition(";")[2])
        assert words[:2] == ["ray", "start"]
        options = start.make_context("start", words[2:]).params
        assert options["metrics_export_port"] == 8080
        assert options["dashboard_host"] in (None, "localhost", "127.0.0.1")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_all_nodes_get_the_token(cloud):
    assert load(cloud)["file_mounts"] == {"/home/umc/.ray/auth_token": "~/.ray/auth_token"}


@pytest.fixture
def ec2(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray stores an SSH key there
    with moto.mock_aws():
        boto3.client("iam").create_instance_profile(InstanceProfileName="umc-node")
        yield boto3.client("ec2", region_name="us-west-2")


@pytest.mark.filterwarnings("ignore:Could not find AMI")  # the AMI is a placeholder in the file
def test_ray_starts_each_kind_of_node_of_the_aws_file(ec2, monkeypatch):
    types = [each["node_config"]["InstanceType"] for each in load("aws")[TYPES].values()]
    # Ray lists about a thousand types, which takes several seconds with the mock.
    known = ec2.describe_instance_types(InstanceTypes=types)["InstanceTypes"]
    monkeypatch.setattr(node_provider, "list_ec2_instances", lambda *_: known)
    config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(load("aws")))
    assert config[TYPES]["gpu"]["resources"]["GPU"] == 1
    config = AWSNodeProvider.bootstrap_config(config)
    nodes = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, node_type in config[TYPES].items():
        nodes.create_node(node_type["node_config"], {"ray-user-node-type": name}, 1)
    lifecycles = {
        tag["Value"]: instance.get("InstanceLifecycle")
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
        for tag in instance["Tags"]
        if tag["Key"] == "ray-user-node-type"
    }
    assert lifecycles == {"head": None, "cpu": "spot", "gpu": "spot"}
