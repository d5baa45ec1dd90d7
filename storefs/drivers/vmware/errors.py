# SPDX-License-Identifier: Apache-2.0
"""What vSphere says of a failure, as fault or as page -> `storefs.exceptions`, with advice."""

import contextlib
from collections.abc import Iterator, Mapping

from pyVmomi import vim, vmodl

from storefs import exceptions
from storefs.drivers.http_answer import Answer

_Raised = type[exceptions.GlanceStoreException]

_PERMISSIONS = (
    "the role of vmware_server_username needs Datastore.Browse, Datastore.FileManagement "
    "and System.Read on the datastores"
)

#: What vSphere says -> the exception and the advice. The most specific entry wins.
_TABLE: Mapping[type[BaseException], tuple[_Raised, str]] = {
    vim.fault.InvalidLogin: (
        exceptions.NotAuthenticated,
        "check vmware_server_username and vmware_server_password",
    ),
    vim.fault.NotAuthenticated: (
        exceptions.NotAuthenticated,
        "the session ended right after it began",
    ),
    vim.fault.NoPermission: (exceptions.Forbidden, _PERMISSIONS),
    vim.fault.FileNotFound: (exceptions.NotFound, "there is no such image"),
    vim.fault.FileAlreadyExists: (exceptions.Duplicate, "another image has this name"),
    vim.fault.FileLocked: (exceptions.InUseByStore, "a virtual machine uses it"),
    vim.fault.ResourceInUse: (exceptions.InUseByStore, "a virtual machine uses it"),
    vim.fault.NoDiskSpace: (exceptions.StorageFull, "there is no room in the datastore"),
    vim.fault.InvalidDatastore: (
        exceptions.RemoteServiceUnavailable,
        "see that the hosts reach the datastore, and check vmware_datastores",
    ),
    vim.fault.InvalidDatastorePath: (
        exceptions.Invalid,
        "the datastore cannot hold that name",
    ),
    vmodl.fault.ManagedObjectNotFound: (
        exceptions.RemoteServiceUnavailable,
        "what was found before is gone: try again",
    ),
    vmodl.MethodFault: (exceptions.RemoteServiceUnavailable, "see the tasks in vCenter"),
}


def translation(fault: BaseException, doing: str) -> exceptions.GlanceStoreException:
    """The exception for what the server said; *doing* says to what."""
    row = next((_TABLE[base] for base in type(fault).__mro__ if base in _TABLE), None)
    raised, advice = row or (exceptions.RemoteServiceUnavailable, "try again later")
    name = type(fault).__name__.rpartition(".")[2]
    return raised(f"vSphere could not {doing} ({name}): {advice}")


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """What the server answers inside, in the words of `storefs.exceptions`."""
    try:
        yield
    except vmodl.MethodFault as exc:
        raise translation(exc, doing) from exc


#: What a server answers to a request for a file -> the exception and the advice.
_STATUSES: Mapping[int, tuple[_Raised, str]] = {
    401: (exceptions.NotAuthenticated, "a new session was refused as well: " + _PERMISSIONS),
    403: (exceptions.Forbidden, _PERMISSIONS),
    404: (exceptions.NotFound, "there is no such image"),
    409: (exceptions.Duplicate, "another image has this name"),
    413: (exceptions.StorageFull, "there is no room in the datastore"),
    507: (exceptions.StorageFull, "there is no room in the datastore"),
}


def explain(answer: Answer, page: bytes) -> exceptions.GlanceStoreException | None:
    """The exception for a status of its own; pages say nothing a program could use."""
    if answer.status not in _STATUSES:
        return None
    raised, advice = _STATUSES[answer.status]
    return raised(f"{answer}: {advice}")
