# SPDX-License-Identifier: Apache-2.0
"""What the libraries raise, under the names Glance's callers catch, with what to do about it."""

import pytest
from cinderclient import exceptions as theirs
from keystoneauth1 import exceptions as keystone

from storefs import exceptions
from storefs.drivers.cinder.errors import translated

#: As Cinder 29 says it.
DELETE = (
    "Invalid volume: Volume status must be available or error or error_restoring or "
    "error_extending or error_managing and must not be migrating, attached, belong to a group, "
    "have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer."
)


@pytest.mark.parametrize(
    ("error", "expected", "advice"),
    [
        (theirs.NotFound(404, "no volume"), exceptions.NotFound, "no volume"),
        (theirs.Unauthorized(401), exceptions.NotAuthenticated, "cinder_store_password"),
        (theirs.Forbidden(403), exceptions.Forbidden, "no such right"),
        (theirs.OverLimit(413, "VolumeLimitExceeded"), exceptions.StorageFull, "quota"),
        (theirs.BadRequest(400, DELETE), exceptions.InUseByStore, "attached"),
        (theirs.BadRequest(400, "Invalid input"), exceptions.Invalid, "Invalid input"),
        (theirs.NotAcceptable(406), exceptions.BadStoreConfiguration, "3.54"),
        (theirs.ClientException(503, "busy"), exceptions.RemoteServiceUnavailable, "busy"),
        (keystone.ConnectFailure("refused"), exceptions.RemoteServiceUnavailable, "refused"),
        (keystone.ConnectTimeout("slow"), exceptions.TimeoutError, "cinder_api_timeout"),
        (keystone.EndpointNotFound("none"), exceptions.BadStoreConfiguration, "catalog_info"),
        (keystone.Unauthorized("no"), exceptions.NotAuthenticated, "cinder_store_user_name"),
        (keystone.SSLError("tls"), exceptions.RemoteServiceUnavailable, "ca_certificates_file"),
        (ValueError("odd"), exceptions.RemoteServiceUnavailable, "odd"),
    ],
)
def test_the_table(error: Exception, expected: type[Exception], advice: str) -> None:
    with pytest.raises(expected, match=advice) as caught, translated("Volume 1"):
        raise error
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error
    assert str(caught.value).startswith("Volume 1: ")


def test_a_server_that_is_gone_is_named_once() -> None:
    told = "Unable to establish connection to http://host/v3: HTTPConnectionPool(host='host'): x"
    with pytest.raises(exceptions.RemoteServiceUnavailable) as caught, translated("Volume 1"):
        raise keystone.ConnectFailure(told)
    assert str(caught.value) == "Volume 1: Unable to establish connection to http://host/v3"


def test_our_own_errors_pass() -> None:
    error = exceptions.StorageFull()
    with pytest.raises(exceptions.StorageFull) as caught, translated("Volume 1"):
        raise error
    assert caught.value is error
