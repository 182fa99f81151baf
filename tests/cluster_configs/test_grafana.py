"""The dashboard queries exactly the metrics that a campaign exports."""

import json
import re
from itertools import combinations
from pathlib import Path

from ray.util.metrics import Counter, Histogram

from umc_ray.campaign.prometheus import METRICS as RUN_METRICS
from umc_ray.serving.metrics import METRICS as SERVING_METRICS

FILE = Path(__file__).parents[2] / "cluster_configs/grafana/umc_ray.json"
DASHBOARD = json.loads(FILE.read_text())
ENDS = {Counter: ("_total",), Histogram: ("_bucket", "_count")}
EXPORTED = {
    f"ray_{name}{end}": {*tags, "le"} if end == "_bucket" else set(tags)
    for name, (kind, _, tags) in (RUN_METRICS | SERVING_METRICS).items()
    for end in ENDS.get(kind, ("",))
}
UNUSED = {"ray_umc_serving_batch_count"}


def queries():
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*expressions, *(each["query"] for each in DASHBOARD["templating"]["list"])]


def test_the_queries_use_exactly_the_exported_metrics():
    assert set(re.findall(r"ray_\w+", " ".join(queries()))) == EXPORTED.keys() - UNUSED


def test_queries_and_legends_use_only_tags_of_their_metric():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            (name,) = re.findall(r"ray_\w+", target["expr"])
            used = re.findall(r"(\w+)\s*=~?\"", target["expr"])
            used += re.findall(r"{{(\w+)}}", target["legendFormat"])
            for group in re.findall(r"by \((.*?)\)", target["expr"]):
                used += group.split(", ")
            assert set(used) <= EXPORTED[name], panel["title"]


def test_panels_have_unique_ids_and_do_not_overlap():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        side_by_side = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        stacked = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert side_by_side or stacked
        assert one["x"] + one["w"] <= 24
