"""The annotation store's tests run on SQLite and, where it is installed, on PostgreSQL."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from umc_ray.annotation.store import AnnotationStore


@pytest.fixture(scope="session")
def postgres_server():
    """Start a temporary PostgreSQL cluster on loopback; yield its URL without a database."""
    on_path = [Path(path).parent for path in [shutil.which("initdb")] if path]
    folders = on_path + sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="umc_pg_", dir="/tmp")  # socket paths must be short
    user = _owner(folder)
    data = f"{folder}/data"
    # no fsync: the data need not survive a crash
    settings = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"

    def call(program, *arguments):
        command = [str(folders[0] / program), "-D", data, *arguments]
        subprocess.run(command, user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    call("initdb", "-U", "umc", "--auth=trust", "--encoding=UTF8", "--no-sync")
    call("pg_ctl", "-w", "-l", f"{folder}/log", "-o", settings, "start")
    yield f"postgresql+psycopg://umc@127.0.0.1:{port}"
    call("pg_ctl", "-w", "-m", "immediate", "stop")
    shutil.rmtree(folder)


def _owner(folder):
    """Give a folder to a user other than root, because PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return nobody.pw_uid


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/run/labels.db"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, sqlite_url):
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield sqlite_url
        return
    server = request.getfixturevalue("postgres_server")
    name = f"t{uuid.uuid4().hex}"
    admin = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        yield f"{server}/{name}"
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def store(url, clock):
    with closing(AnnotationStore(url, clock)) as store:
        yield store
