# SPDX-License-Identifier: Apache-2.0
"""One table: what a Swift server answers -> `storefs.exceptions`, and what to do about it."""

from storefs import exceptions
from storefs.drivers.http_answer import Answer, Interrupted

_Raised = type[exceptions.GlanceStoreException]

_BUSY = "try again later"

#: Status -> the exception and the advice.
TABLE: dict[int, tuple[_Raised, str]] = {
    400: (exceptions.Invalid, "the server does not take it: {page}"),
    401: (
        exceptions.NotAuthenticated,
        "it does not know the token of the login: check swift_store_endpoint and the server",
    ),
    403: (exceptions.Forbidden, "the account or the container's ACL does not allow it"),
    404: (exceptions.NotFound, "there is no such image"),
    408: (Interrupted, "not all of it arrived"),
    409: (exceptions.RemoteServiceUnavailable, "a segment of the image is missing or another"),
    412: (exceptions.Duplicate, "another image has this name"),
    413: (exceptions.ImageTooLarge, "the server takes no object that long"),
    422: (Interrupted, "it did not arrive as it was sent"),
    429: (Interrupted, _BUSY),
    498: (Interrupted, _BUSY),
    499: (Interrupted, "not all of it arrived"),
    500: (Interrupted, _BUSY),
    502: (Interrupted, _BUSY),
    503: (Interrupted, _BUSY),
    504: (Interrupted, _BUSY),
    507: (exceptions.StorageFull, "there is no room"),
}

#: What the page of a 413 says when it is not about the length of the object.
_QUOTA = b"quota"


def explain(answer: Answer, page: bytes) -> exceptions.GlanceStoreException | None:
    """The exception for an answer that is not what was asked for; None for other statuses."""
    if answer.status == 413 and _QUOTA in page.lower():
        return exceptions.StorageFull(f"{answer}: the quota is used up")
    if answer.status not in TABLE:
        return None
    raised, advice = TABLE[answer.status]
    text = " ".join(page[:300].decode("utf-8", "replace").split())
    return raised(f"{answer}: {advice.format(page=text)}")


def no_container(container: str) -> exceptions.BadStoreConfiguration:
    return exceptions.BadStoreConfiguration(
        f"There is no container {container}: create it, set "
        "swift_store_create_container_on_put, or check swift_store_container"
    )
