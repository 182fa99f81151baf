"""A real Label Studio, on a port of its own.

It is installed into a virtual environment, a minute's work; UMC_LABEL_STUDIO may name the program
`label-studio` of one that is there.
"""

import os
import re
import subprocess
import venv
from contextlib import suppress
from functools import cache
from pathlib import Path

import httpx
import pytest

from tests import tiny
from tests.serving.conftest import free_port

VERSION = "1.23.2"
EMAIL, PASSWORD = "admin@example.com", "no secret of anyone"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    if "UMC_LABEL_STUDIO" in os.environ:
        return os.environ["UMC_LABEL_STUDIO"]
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"label-studio=={VERSION}"], check=True, timeout=900)
    return str(folder / "bin" / "label-studio")


@pytest.fixture(scope="session")
def label_studio(program, tmp_path_factory):
    """A server of its own, that dials nowhere; gives its address."""
    yield from started(program, tmp_path_factory.mktemp("label-studio"))


@pytest.fixture(scope="session")
def late_label_studio(program, tmp_path_factory):
    """One whose clock is five minutes behind."""
    if not Path(FAKETIME).exists():
        pytest.skip("libfaketime is not installed (Debian: apt-get install faketime)")
    clock = {"LD_PRELOAD": FAKETIME, "FAKETIME": "-300"}
    yield from started(program, tmp_path_factory.mktemp("late-label-studio"), **clock)


def started(program, folder, **environment):
    """Start a server, give its address, and end it."""
    port = free_port()
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "DJANGO_DB": "sqlite",
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
    }
    process = subprocess.Popen(
        [program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **settings, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    while not is_up(url):
        assert process.poll() is None, "Label Studio did not start"
    yield url
    tiny.end(process)


def is_up(url):
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/health", timeout=5).is_success
    return False


@pytest.fixture(scope="session")
def key(label_studio):
    """A personal access token, made as a person makes one."""
    return new_key(label_studio)


@cache
def new_key(url):
    """Log in and make a personal access token; a person has one at a time."""
    with httpx.Client(base_url=url, timeout=30) as browser:
        page = browser.get("/user/login/").text
        form = {"csrfmiddlewaretoken": re.search(r'csrfmiddlewaretoken" value="(\w+)', page)[1]}
        login = browser.post("/user/login/", data={**form, "email": EMAIL, "password": PASSWORD})
        assert login.status_code == 302, login.text[:300]
        headers = {"x-csrftoken": browser.cookies["csrftoken"], "referer": url}
        return browser.post("/api/token/", headers=headers).json()["token"]
