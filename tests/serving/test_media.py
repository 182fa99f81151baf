"""Samples whose payload is a URL or a file reference."""

import asyncio
import base64

import httpx
import pytest

from umc_ray.serving.media import MediaError, MediaLoader
from umc_ray.serving.messages import Sample
from umc_ray.serving.settings import ServingConfig

HOST, PUBLIC = "images.example", "93.184.216.34"


def settings(**changes):
    return ServingConfig(campaign="none.yaml", **{"image_hosts": (HOST,), **changes})


def fetch(url, answer=None, found=(PUBLIC,), **changes):
    """Fetch an image from a fake host; return its bytes and the requests to the host."""
    requests = []

    async def handle(request):
        requests.append(request)
        return answer or httpx.Response(200, content=b"picture")

    async def resolve(host, port):
        return list(found)

    media = MediaLoader(settings(**changes), httpx.MockTransport(handle), resolve)
    sample = asyncio.run(media.load(Sample(id="a", image_url=url), "image"))
    assert sample.id == "a"
    return base64.b64decode(sample.image), requests


def test_an_image_on_an_allowed_host_is_fetched_from_the_checked_address():
    data, (request,) = fetch(f"https://{HOST}/a/b.png?x=1#part")
    assert data == b"picture"
    assert str(request.url) == f"https://{PUBLIC}/a/b.png?x=1"
    assert request.headers["host"] == request.extensions["sni_hostname"] == HOST


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/a.png",
        f"https://{HOST}.other.example/a.png",
        f"https://other.example#{HOST}/",
        f"https://{HOST}@other.example/a.png",
        f"https://user:secret@{HOST}/a.png",
        f"https://{HOST}:8443/a.png",
        f"http://{HOST}:443/a.png",
        f"file://{HOST}/etc/passwd",
        f"ftp://{HOST}/a.png",
        f"//{HOST}/a.png",
        f"https://[{HOST}/a.png",
        f"https://{HOST}:port/a.png",
        "http://169.254.169.254/latest",
        "http://127.0.0.1/",
        "/etc/passwd",
        "",
    ],
)
def test_other_urls_are_refused_before_any_request(url):
    with pytest.raises(MediaError, match="image_url"):
        fetch(url)


@pytest.mark.parametrize(
    "found",
    [
        (),
        ("127.0.0.1",),
        ("10.1.2.3",),
        ("172.16.0.1",),
        ("192.168.0.1",),
        ("169.254.169.254",),
        ("100.64.0.1",),
        ("0.0.0.0",),
        ("::1",),
        ("fd00::1",),
        ("fe80::1",),
        ("::ffff:127.0.0.1",),
        ("::127.0.0.1",),
        ("2002:7f00:1::",),
        ("2002:5db8:d822::1",),  # 6to4 of a public one: nobody needs it
        ("64:ff9b::a9fe:a9fe",),
        ("2001:0:5ef5:79fb::1",),
        (PUBLIC, "10.0.0.1"),
    ],
)
def test_an_allowed_host_with_a_private_address_is_refused(found):
    with pytest.raises(MediaError, match="not allowed"):
        fetch(f"https://{HOST}/a.png", found=found)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 500])
def test_redirects_are_not_followed_and_failures_are_errors(status):
    answer = httpx.Response(status, headers={"location": "http://127.0.0.1/"})
    with pytest.raises(MediaError, match=f"status {status}"):
        fetch(f"https://{HOST}/a.png", answer)


def test_an_image_that_is_too_large_is_refused():
    with pytest.raises(MediaError, match="more than 6 bytes"):
        fetch(f"https://{HOST}/a.png", max_fetch_bytes=6)


@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "zstd"])
def test_a_compressed_file_is_not_unpacked(coding):
    """A piece of 64 kB could become 64 MB, before anybody counts."""

    async def parts():
        raise AssertionError("it was read")
        yield b""

    answer = httpx.Response(200, headers={"content-encoding": coding}, content=parts())
    with pytest.raises(MediaError, match="image_url returned a compressed file"):
        fetch(f"https://{HOST}/a.png", answer)


def test_by_default_no_host_is_allowed():
    with pytest.raises(MediaError, match="not allowed"):
        fetch(f"https://{HOST}/a.png", image_hosts=())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "a.txt").write_text("good word1")
    (tmp_path / "data" / "latin.txt").write_bytes(b"\xe9")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / "a.txt").write_text("secret")
    return tmp_path


def read(folder, reference, column="text", **changes):
    media = MediaLoader(settings(references=(str(folder / "data"),), **changes))
    return asyncio.run(media.load(Sample(reference=reference), column))


def test_a_file_in_an_allowed_folder_is_loaded_as_text_or_image(folder):
    path = str(folder / "data" / "deep" / "a.txt")
    assert read(folder, path) == Sample(text="good word1")
    assert base64.b64decode(read(folder, path, "image").image) == b"good word1"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("{0}/secret.txt", "not inside"),
        ("{0}/data/../secret.txt", "not inside"),
        ("{0}/data/deep/../../secret.txt", "not inside"),
        ("{0}/data/link", "not inside"),
        ("{0}/database/a.txt", "not inside"),
        ("{0}/data", "not inside"),
        ("{0}/data/", "not inside"),
        ("{0}/data//deep/a.txt", "not inside"),
        ("{0}/data/deep/a.txt\0", "not inside"),
        ("file://{0}/data/deep/a.txt", "not inside"),
        ("s3://bucket/data/deep/a.txt", "not inside"),
        ("data/deep/a.txt", "not inside"),
        ("{0}/data/deep", "cannot be read"),
        ("{0}/data/none.txt", "cannot be read"),
        ("{0}/data/latin.txt", "not UTF-8"),
    ],
)
def test_other_references_are_refused(folder, reference, reason):
    with pytest.raises(MediaError, match=reason):
        read(folder, reference.format(folder))


def test_a_file_that_is_too_large_is_refused(folder):
    with pytest.raises(MediaError, match="more than 5 bytes"):
        read(folder, str(folder / "data" / "deep" / "a.txt"), max_fetch_bytes=5)


def test_a_sample_has_exactly_one_payload():
    sample = Sample(text="good", reference="/data/a.txt")
    with pytest.raises(MediaError, match="one of"):
        asyncio.run(MediaLoader(settings()).load(sample, "text"))
