"""The fields of KubeRay's resources that our manifests use, after its Go types (API ray.io/v1).

A field that is not here is an error: check it against the operator's version before adding it.
"""

POD_TEMPLATE = {"type": "object"}  # checked as a Pod
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}


def _object(required=(), **properties):
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


WORKER_GROUP = _object(
    ["groupName", "template"],
    groupName={"type": "string"},
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    rayStartParams=TEXTS,
    template=POD_TEMPLATE,
)
CLUSTER_SPEC = _object(
    ["headGroupSpec"],
    rayVersion={"type": "string"},
    authOptions=_object(mode={"enum": ["disabled", "token"]}, secretName={"type": "string"}),
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=_object(
        version={"enum": ["v1", "v2"]},
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        idleTimeoutSeconds=COUNT,
        resources={"type": "object"},
    ),
    headGroupSpec=_object(["template"], rayStartParams=TEXTS, template=POD_TEMPLATE),
    workerGroupSpecs={"type": "array", "items": WORKER_GROUP},
)
JOB_SPEC = _object(
    ["entrypoint", "rayClusterSpec"],
    entrypoint={"type": "string"},
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished=COUNT,
    backoffLimit=COUNT,
    activeDeadlineSeconds={"type": "integer", "minimum": 1},
    rayClusterSpec=CLUSTER_SPEC,
)

SERVICE_SPEC = _object(
    ["serveConfigV2", "rayClusterConfig"],
    serveConfigV2={"type": "string"},
    rayClusterConfig=CLUSTER_SPEC,
)


def _resource(kind, spec):
    metadata = _object(["name"], name={"type": "string"})
    api = {"const": "ray.io/v1"}
    names = ["apiVersion", "kind", "metadata", "spec"]
    return _object(names, apiVersion=api, kind={"const": kind}, metadata=metadata, spec=spec)


RESOURCES = {
    "RayCluster": _resource("RayCluster", CLUSTER_SPEC),
    "RayJob": _resource("RayJob", JOB_SPEC),
    "RayService": _resource("RayService", SERVICE_SPEC),
}
