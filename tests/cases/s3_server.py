"""A real S3 server on loopback for tests: moto's, in a process of its own, ended by its id."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow.fs import S3FileSystem

BUCKET = "bucket"
SECONDS = 60


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Yields the environment by which its one bucket is reached; what is in it ends with the block.

    Args:
        folder: for its log.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "a-key-for-tests",
        "AWS_SECRET_ACCESS_KEY": "a-secret-for-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "s3.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + SECONDS
        while not _answers(port):
            assert server.poll() is None, (folder / "s3.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        client = S3FileSystem(
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
            region=environment["AWS_DEFAULT_REGION"],
            endpoint_override=environment["AWS_ENDPOINT_URL"],
            allow_bucket_creation=True,
        )
        client.create_dir(BUCKET)
        yield environment
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
