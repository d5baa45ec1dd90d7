# SPDX-License-Identifier: Apache-2.0
"""Who we are to an S3 server: credentials and signatures, both botocore's.

botocore finds credentials in all the places AWS knows and renews them; its
signers do the rest. The requests themselves are sent by `http_transport`, so
that time-outs, retries and errors are the same for control and data. Nobody
else imports botocore.
"""

import logging
import types
from collections.abc import Mapping
from typing import Any

from storefs import exceptions

#: Tells botocore not to hash the body: in parts that would be 1.2 CPU seconds a GiB.
_UNSIGNED_BODY = types.SimpleNamespace(s3={"payload_signing_enabled": False})


class Signer:
    """Signs requests for *region*; thread-safe.

    Without keys botocore's chain is asked once, here, and the keys it found are
    renewed before they expire. Raises `BadStoreConfiguration` for a profile or a
    role that is half configured, and `DriverLoadFailure` without botocore.
    """

    def __init__(self, access_key: str | None, secret_key: str | None, region: str) -> None:
        try:
            import botocore.auth
            import botocore.awsrequest
            import botocore.credentials
            import botocore.exceptions
            import botocore.session
        except ImportError as exc:
            raise exceptions.DriverLoadFailure("S3 stores need botocore, which is missing") from exc
        # its debug records repeat every header that is signed, session tokens among them
        logging.getLogger("botocore.auth").setLevel(logging.INFO)
        self._botocore: Any = botocore
        self._region = region
        self._credentials = self._found(access_key, secret_key)

    def __repr__(self) -> str:
        return f"<Signer {'anonymous' if self.anonymous else self._region}>"

    @property
    def anonymous(self) -> bool:
        """Are there no credentials? Then nothing is signed."""
        return self._credentials is None

    def signed(
        self, method: str, url: str, headers: Mapping[str, str], body: object = None
    ) -> dict[str, str]:
        """*headers* with the signature among them.

        A body of bytes is part of what is signed, one of memoryviews is not.
        """
        if self._credentials is None:
            return dict(headers)
        data = body if isinstance(body, bytes) else None
        request = self._request(method, url, headers, data)
        if body is not None and data is None:
            request.context["client_config"] = _UNSIGNED_BODY
        auth = self._botocore.auth.S3SigV4Auth(self._frozen(), "s3", self._region)
        auth.add_auth(request)
        return dict(request.headers.items())

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None
    ) -> Any:
        return self._botocore.awsrequest.AWSRequest(
            method=method, url=url, headers=dict(headers), data=data
        )

    def _found(self, access_key: str | None, secret_key: str | None) -> Any:
        if access_key:
            return self._botocore.credentials.Credentials(access_key, secret_key)
        try:
            return self._botocore.session.Session().get_credentials()
        except self._botocore.exceptions.BotoCoreError as exc:
            raise exceptions.BadStoreConfiguration(
                f"s3_store_access_key is not set, and of botocore's own places: {exc}"
            ) from exc

    def _frozen(self) -> Any:
        """The keys of now, renewed if need be; `NotAuthenticated`."""
        try:
            return self._credentials.get_frozen_credentials()
        except self._botocore.exceptions.BotoCoreError as exc:
            raise exceptions.NotAuthenticated(
                f"The credentials could not be renewed: {exc}"
            ) from exc
