"""Databases and object stores that really run, for as long as some tests need them."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.needed import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER_USER = "postgres"


@contextmanager
def postgresql() -> Iterator[str]:
    """Run PostgreSQL in a folder of its own, and yield the address of its database."""
    binaries = _postgresql_binaries()
    # Not below pytest's folder: PostgreSQL refuses to run as root, and its user may not look in there.
    folder = Path(tempfile.mkdtemp(prefix="modhub-pg-"))
    prefix: list[str] = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            lacking("postgresql", "setpriv is missing, and PostgreSQL does not run as root")
        shutil.chown(folder, SERVER_USER, SERVER_USER)
        prefix = ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups"]
    data = folder / "data"
    control = [*prefix, str(binaries / "pg_ctl"), "-D", str(data), "-s", "-w"]
    # No port: a socket in the folder cannot be taken by anybody else.
    options = f"-c listen_addresses='' -k {folder} -c fsync=off -c max_connections=150"
    try:
        initdb = [*prefix, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
        subprocess.run([*control, "-o", options, "-l", str(folder / "log"), "start"], check=True, cwd=folder)
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, cwd="/", capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def s3() -> Iterator[str]:
    """Run an object store that speaks S3, and yield the address of a bucket in it."""
    try:
        from moto.server import ThreadedMotoServer
    except ModuleNotFoundError as error:
        lacking("s3", f"{error.name} is not installed")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    connection = http.client.HTTPConnection(host, port)
    connection.request("PUT", "/bucket")
    assert connection.getresponse().status == 200
    connection.close()
    try:
        yield f"s3://bucket/registry?endpoint=http://{host}:{port}&region=us-east-1"
    finally:
        server.stop()


def _postgresql_binaries() -> Path:
    """Return the folder of the newest PostgreSQL; Debian keeps it off the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if not folders:
        lacking("postgresql", "there is no initdb on the path or in /usr/lib/postgresql")
    return folders[-1]
