"""A campaign whose sources and storage lie on s3://, against an S3 server on this machine."""

import logging

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.tiny import campaign, results, write_campaign
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def s3(monkeypatch):
    """Environment variables by which pyarrow finds the server and its bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="umc-campaign")
    yield environment
    server.stop()


def test_a_campaign_on_s3_asks_what_one_on_a_disk_asks(reference, s3, tmp_path, umc):
    values = campaign(
        tmp_path,
        storage="s3://umc-campaign/runs",
        budget={"labels": 30, "per_round": 30},
        annotation={
            "backend": "replay",
            "votes": 3,
            "database": f"sqlite:///{tmp_path}/labels.db",
        },
    )
    client = boto3.client("s3")
    for file in ("reviews.jsonl", "reviews_test.jsonl", "posts.csv"):
        client.upload_file(tmp_path / file, "umc-campaign", f"in/{file}")
        (tmp_path / file).unlink()
    for domain in values["tasks"]["mood"]["domains"].values():
        for split in {"source", "test"} & set(domain):
            domain[split] = f"s3://umc-campaign/in/{domain[split]}"
    process = umc("run", write_campaign(tmp_path, values), **s3)
    manifest, _ = process.communicate()
    assert process.returncode == 0, manifest
    found, expected = results(Storage("s3://umc-campaign/runs/tiny")), results(reference.storage)
    assert len(found) == 2
    assert found == {key: expected[key] for key in found}
    assert not (tmp_path / "runs").exists()
