"""What a node of the tests' Ray cluster exports to Prometheus."""

import time
from urllib.request import urlopen

import ray
from prometheus_client.parser import text_string_to_metric_families

WITHIN_S = 60
TAGS = ("stage", "domain", "measured_on", "task", "specialist")


def scrape():
    """Read all samples of umc_ray's metrics, as (name, labels, value)."""
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urlopen(url, timeout=WITHIN_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return [
        (sample.name, sample.labels, sample.value)
        for family in families
        if family.name.startswith("ray_umc_")
        for sample in family.samples
    ]


def exported(campaign, until, again=lambda: None):
    """Read a campaign's samples by name and tags, once they are as they shall be, or too late.

    They come at different times: one may be there from before, when another is gone by age.
    """
    ends = time.monotonic() + WITHIN_S
    while True:
        again()
        found = {
            (name, *(labels[tag] for tag in TAGS if tag in labels)): v
            for name, labels, v in scrape()
            if labels["campaign"] == campaign
        }
        if until(found) or time.monotonic() > ends:
            return found
        time.sleep(0.05)
