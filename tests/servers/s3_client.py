# SPDX-License-Identifier: Apache-2.0
"""The other program at an S3 server: boto3, as everybody uses it."""

import contextlib
import uuid
from typing import Any

import boto3
import botocore.config


def s3_client(url: str, access_key: str, secret_key: str) -> Any:
    """boto3's client for the server at *url*."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=botocore.config.Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1},
            max_pool_connections=32,
        ),
    )


class Bucket:
    """A bucket of its own for one test, behind storefs' back."""

    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        self.url = url
        self.access_key = access_key
        self.secret_key = secret_key
        self.client = s3_client(url, access_key, secret_key)
        self.name = f"storefs-{uuid.uuid4().hex[:20]}"
        self.client.create_bucket(Bucket=self.name)

    @property
    def options(self) -> dict[str, Any]:
        """What makes a driver use it."""
        return {
            "s3_store_host": self.url,
            "s3_store_access_key": self.access_key,
            "s3_store_secret_key": self.secret_key,
            "s3_store_bucket": self.name,
        }

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def tags(self, key: str) -> dict[str, str]:
        found = self.client.get_object_tagging(Bucket=self.name, Key=key)["TagSet"]
        return {tag["Key"]: tag["Value"] for tag in found}

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def uploads(self) -> list[str]:
        """The keys of uploads that are neither complete nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=self.name)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    def remove(self) -> None:
        """Take it away as far as that goes: the server's directory goes with the tests."""
        with contextlib.suppress(Exception):
            for key in self.keys():
                self.delete(key)
            self.client.delete_bucket(Bucket=self.name)
        self.client.close()
