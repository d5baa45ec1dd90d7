# SPDX-License-Identifier: Apache-2.0
"""One table: what an S3 server answers -> `storefs.exceptions`, and what to do about it."""

import email.utils
import html
import re
import time

from storefs import exceptions
from storefs.drivers.http_answer import Answer, Interrupted
from storefs.drivers.http_url import server_of

_Raised = type[exceptions.GlanceStoreException]

_KEYS = "check s3_store_access_key and s3_store_secret_key"
_TOKEN = "the session's token has expired: renew the credentials storefs is given"
_REGION = "the bucket is in {region}: set s3_store_region_name{endpoint}"
_BUSY = "try again later"
_FULL = "there is no room, or the quota is used up"

#: S3's code -> the exception and the advice.
TABLE: dict[str, tuple[_Raised, str]] = {
    "AccessDenied": (exceptions.Forbidden, "the bucket's policy or ACL does not allow it"),
    "AllAccessDisabled": (exceptions.Forbidden, "the bucket is closed to everybody"),
    "AccountProblem": (exceptions.Forbidden, "there is a problem with the account"),
    "InvalidAccessKeyId": (exceptions.NotAuthenticated, _KEYS),
    "SignatureDoesNotMatch": (exceptions.NotAuthenticated, _KEYS),
    "InvalidSecurity": (exceptions.NotAuthenticated, _KEYS),
    "ExpiredToken": (exceptions.NotAuthenticated, _TOKEN),
    "InvalidToken": (exceptions.NotAuthenticated, _TOKEN),
    "TokenRefreshRequired": (exceptions.NotAuthenticated, _TOKEN),
    "RequestTimeTooSkewed": (exceptions.NotAuthenticated, "{clock}"),
    "NoSuchKey": (exceptions.NotFound, "there is no such image"),
    "NoSuchVersion": (exceptions.NotFound, "there is no such version of the image"),
    "NoSuchBucket": (
        exceptions.BadStoreConfiguration,
        "there is no such bucket: check s3_store_bucket, or set s3_store_create_bucket_on_put",
    ),
    "BucketAlreadyOwnedByYou": (exceptions.Duplicate, "the bucket is there"),
    "BucketAlreadyExists": (
        exceptions.BadStoreConfiguration,
        "the bucket belongs to somebody else: choose another s3_store_bucket",
    ),
    "InvalidBucketName": (exceptions.BadStoreConfiguration, "check s3_store_bucket"),
    "NoSuchUpload": (
        exceptions.RemoteServiceUnavailable,
        "somebody else, or a rule of the bucket, has ended the upload",
    ),
    "PermanentRedirect": (exceptions.BadStoreConfiguration, _REGION),
    "TemporaryRedirect": (exceptions.BadStoreConfiguration, _REGION),
    "AuthorizationHeaderMalformed": (exceptions.BadStoreConfiguration, _REGION),
    "IllegalLocationConstraintException": (exceptions.BadStoreConfiguration, _REGION),
    "PreconditionFailed": (exceptions.Duplicate, "another image has this name"),
    "EntityTooLarge": (exceptions.ImageTooLarge, "the server takes no image that large"),
    "QuotaExceeded": (exceptions.StorageFull, _FULL),
    "XMinioStorageFull": (exceptions.StorageFull, _FULL),
    "XMinioAdminBucketQuotaExceeded": (exceptions.StorageFull, _FULL),
    "InsufficientStorage": (exceptions.StorageFull, _FULL),
    "KeyTooLongError": (exceptions.Invalid, "the name is too long"),
    "NotImplemented": (exceptions.StoreAddDisabled, "the server cannot do that"),
    "SlowDown": (Interrupted, _BUSY),
    "SlowDownRead": (Interrupted, _BUSY),
    "SlowDownWrite": (Interrupted, _BUSY),
    "ServiceUnavailable": (Interrupted, _BUSY),
    "TooManyRequests": (Interrupted, _BUSY),
    "InternalError": (Interrupted, _BUSY),
    "RequestTimeout": (Interrupted, _BUSY),
    "OperationAborted": (Interrupted, _BUSY),
    "ConditionalRequestConflict": (Interrupted, _BUSY),
    "IncompleteBody": (Interrupted, "not all of it arrived"),
    "BadDigest": (Interrupted, "it did not arrive as it was sent"),
}

#: What a status alone means: answers to HEAD have no page, some proxies none of S3's.
_BY_STATUS = {
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
    401: "InvalidAccessKeyId",
    403: "AccessDenied",
    404: "NoSuchKey",
    412: "PreconditionFailed",
    413: "EntityTooLarge",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    503: "SlowDown",
    507: "InsufficientStorage",
}


def explain(answer: Answer, page: bytes) -> exceptions.GlanceStoreException | None:
    """The exception for an answer that is not what was asked for.

    None for what neither the page nor the status names.
    """
    code = field(page, "Code")
    if code not in TABLE and answer.status in _BY_STATUS:
        code = _BY_STATUS[answer.status]
    if code not in TABLE:
        return None
    raised, advice = TABLE[code]
    text = advice.format(
        region=answer.headers.get("x-amz-bucket-region")
        or field(page, "Region")
        or "another region",
        endpoint=_endpoint(field(page, "Endpoint")),
        clock=_clock(answer.headers.get("Date", "")),
    )
    return raised(f"{answer} ({code}): {text}")


def field(page: bytes, name: str) -> str:
    """What *page*, XML, says under *name*; empty if nothing."""
    match = re.search(rf"<{name}>([^<]*)</{name}>".encode(), page)
    return html.unescape(match[1].decode(errors="replace")) if match else ""


def unreadable(answer: Answer) -> exceptions.GlanceStoreException:
    """The exception for an answer in a form no S3 server uses."""
    return exceptions.RemoteServiceUnavailable(
        f"{server_of(answer.url)} answered {answer.status} with something that is not S3's: "
        "check s3_store_host"
    )


def _endpoint(endpoint: str) -> str:
    return f", and s3_store_host to {endpoint}" if endpoint else ""


def _clock(date: str) -> str:
    """Whose clock is off, by the server's own Date."""
    try:
        ahead = time.time() - email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return "the clocks of this host and the server differ too much: set them"
    way = "ahead of" if ahead > 0 else "behind"
    return (
        f"the clock of this host is {abs(ahead):.0f} seconds {way} the server's: set this "
        "host's clock (NTP), or the server's"
    )
