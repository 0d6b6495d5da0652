"""An S3 server on loopback. Nothing here skips: what cannot be installed or loaded fails the lane."""

import boto3
import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def bucket():
    """A bucket of moto's server, which the environment of this process and its children leads to."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "S3_ENDPOINT": f"http://{host}:{port}",
            "NO_PROXY": host,
            "no_proxy": host,
        }.items():
            patch.setenv(name, value)
        yield boto3.resource("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(
            Bucket="bucket"
        )
    server.stop()


@pytest.fixture
def upload(bucket, tmp_path_factory):
    """Function of a folder: its files under a prefix of their own; returns `s3://bucket/prefix`."""

    def uploaded(folder):
        prefix = tmp_path_factory.mktemp("prefix").name  # numbered
        for path in folder.iterdir():
            bucket.upload_file(str(path), f"{prefix}/{path.name}")
        return f"s3://{bucket.name}/{prefix}"

    return uploaded
