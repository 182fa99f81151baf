from importlib.metadata import version
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from tests.cluster_configs.kuberay_schema import RESOURCES
from umc_ray.serving.deployment import build
from umc_ray.serving.settings import ServingConfig

KUBERAY = Path(__file__).parents[2] / "cluster_configs/kuberay"
KUBERNETES = "1.34"


def load(kind):
    return yaml.safe_load((KUBERAY / f"{kind.lower()}.yaml").read_text())


def cluster_of(kind):
    spec = load(kind)["spec"]
    where = {"RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}
    return spec[where[kind]] if kind in where else spec


def pods(kind):
    """Return the pod templates of the head and the worker groups, by name."""
    cluster = cluster_of(kind)
    workers = {each["groupName"]: each["template"] for each in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"], **workers}


@pytest.mark.parametrize("kind", RESOURCES)
def test_the_manifest_has_only_fields_that_kuberay_knows(kind):
    jsonschema.validate(load(kind), RESOURCES[kind])


@pytest.mark.parametrize("kind", RESOURCES)
def test_kubernetes_accepts_the_pods(kind):
    for name, template in pods(kind).items():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize("kind", RESOURCES)
def test_ray_has_the_version_of_the_image_and_requires_a_token(kind):
    cluster = cluster_of(kind)
    assert cluster["rayVersion"] == version("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["autoscalerOptions"]["version"] == "v2"


@pytest.mark.parametrize("kind", RESOURCES)
def test_only_the_gpu_group_requests_and_tolerates_gpu_nodes(kind):
    for name, template in pods(kind).items():
        (container,) = template["spec"]["containers"]
        needs = container["resources"]
        assert needs["requests"] == needs["limits"]
        assert ("nvidia.com/gpu" in needs["limits"]) == (name == "gpu")
        assert ("tolerations" in template["spec"]) == (name == "gpu")
        assert container["image"].endswith(":cuda" if name == "gpu" else ":cpu")


@pytest.mark.parametrize("kind", RESOURCES)
def test_the_head_does_no_work_and_is_not_on_spot(kind):
    assert cluster_of(kind)["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    on_spot = {name for name, template in pods(kind).items() if "nodeSelector" in template["spec"]}
    assert on_spot == set(pods(kind)) - {"head"}


@pytest.mark.parametrize("kind", RESOURCES)
def test_all_pods_mount_the_storage_as_the_user_of_the_image(kind):
    for template in pods(kind).values():
        spec = template["spec"]
        (container,) = spec["containers"]
        claims = {each["name"]: each.get("persistentVolumeClaim") for each in spec["volumes"]}
        mounted = {
            claims[each["name"]]["claimName"]: each["mountPath"]
            for each in container["volumeMounts"]
            if claims[each["name"]]
        }
        assert mounted == {load("Storage")["metadata"]["name"]: "/storage"}
        assert spec["securityContext"]["runAsUser"] == 1000


def test_kubernetes_accepts_the_storage():
    kubernetes_validate.validate(load("Storage"), KUBERNETES, strict=True)


@pytest.mark.parametrize("kind", RESOURCES)
def test_prometheus_finds_a_metrics_port_on_every_pod(kind):
    (endpoint,) = load("PodMonitor")["spec"]["podMetricsEndpoints"]
    for template in pods(kind).values():
        ports = {
            each["name"]: each["containerPort"]
            for each in template["spec"]["containers"][0]["ports"]
        }
        assert ports[endpoint["port"]] == 8080  # the metrics port of Ray under KubeRay


def test_the_settings_of_a_service_are_valid_and_its_files_are_mounted_in_all_pods():
    text = load("RayService")["spec"]["serveConfigV2"]
    config = ServeDeploySchema.model_validate(yaml.safe_load(text))
    (application,) = config.applications
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    settings = ServingConfig.model_validate(application.args)
    for template in pods("RayService").values():
        (container,) = template["spec"]["containers"]
        mounts = {each["mountPath"] for each in container["volumeMounts"]}
        assert mounts >= {str(settings.campaign.parent), str(settings.tokens.parent), "/storage"}
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert ports["serve"] == config.http_options.port


def test_a_job_deletes_its_cluster_and_is_retried_twice():
    job = load("RayJob")["spec"]
    assert job["shutdownAfterJobFinishes"]
    assert job["backoffLimit"] == 2
    script = job["entrypoint"].split()[1]
    assert (KUBERAY.parents[1] / script.removeprefix("/app/")).is_file()
