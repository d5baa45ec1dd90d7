# SPDX-License-Identifier: Apache-2.0
"""Which server a store's options mean."""

import re
import urllib.parse
from typing import NamedTuple

#: Amazon's hosts: s3.REGION, s3-REGION, s3.dualstack.REGION, s3-fips.REGION; none: us-east-1.
_AMAZON = re.compile(
    r"s3(?:-fips)?(?:\.dualstack)?(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-\d+))?\.amazonaws\.com(?:\.cn)?"
)

#: The region of servers that have none.
DEFAULT_REGION = "us-east-1"


class Endpoint(NamedTuple):
    """*scheme* as in locations, *url* as in requests; *prefix* begins with ``/`` or is empty."""

    scheme: str
    url: str
    netloc: str
    prefix: str

    @classmethod
    def of(cls, host: str) -> "Endpoint":
        """From ``s3_store_host``; ValueError says what is wrong."""
        url = host if "://" in host else f"http://{host}"
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ValueError("it is a host, host:port or a URL of http or https")
        if "@" in parts.netloc:
            raise ValueError("credentials go into s3_store_access_key and s3_store_secret_key")
        _ = parts.port
        prefix = parts.path.rstrip("/")
        scheme = f"s3+{parts.scheme}" if "://" in host else "s3"
        return cls(scheme, f"{parts.scheme}://{parts.netloc}{prefix}", parts.netloc, prefix)

    @property
    def amazon(self) -> bool:
        return _AMAZON.fullmatch(self._hostname) is not None

    @property
    def region(self) -> str:
        """The one its name tells, or what servers without regions take."""
        match = _AMAZON.fullmatch(self._hostname)
        return (match and match["region"]) or DEFAULT_REGION

    @property
    def _hostname(self) -> str:
        return urllib.parse.urlsplit(self.url).hostname or ""

    def virtual(self, bucket: str, style: str) -> bool:
        """Does the bucket stand in the host's name? *style* is ``s3_store_bucket_url_format``.

        A certificate for ``*.host`` does not cover a bucket with dots in its name.
        """
        if style == "auto":
            return self.amazon and "." not in bucket
        return style == "virtual"
