# SPDX-License-Identifier: Apache-2.0
"""One table: what a sheep answers -> `storefs.exceptions`, and what to do about it."""

from storefs import exceptions

#: Answers that are worth asking again a little later: starting, nodes joining, epochs
#: that change, a network error between nodes, "try again".
RETRY = frozenset({0x0F, 0x17, 0x81, 0x82, 0x86, 0x8F})

#: Answers of a node that goes, be it for a restart: another one may serve.
LEAVING = frozenset({0x11, 0x8D})

_Raised = type[Exception]

_LATER = "try again later"
_LOG = "the log of the sheep daemon (sheep.log) says more"

#: result -> the exception and what it means.
TABLE: dict[int, tuple[_Raised, str]] = {
    0x01: (exceptions.BackendException, f"unknown error; {_LOG}"),
    0x02: (exceptions.NotFound, "no such object"),
    0x03: (exceptions.BackendException, f"I/O error in the cluster; {_LOG}"),
    0x04: (exceptions.Duplicate, "another VDI has this name"),
    0x05: (exceptions.BackendException, "invalid parameters: is it Sheepdog 1.0?"),
    0x06: (exceptions.BackendException, f"system error in the cluster; {_LOG}"),
    0x07: (exceptions.InUseByStore, "the VDI is locked by a client, such as a running qemu"),
    0x08: (exceptions.NotFound, "no such VDI"),
    0x0A: (exceptions.BackendException, f"the VDI cannot be read; {_LOG}"),
    0x0B: (exceptions.BackendException, f"the VDI cannot be written; {_LOG}"),
    0x0E: (exceptions.NotFound, "no such snapshot"),
    0x0F: (exceptions.RemoteServiceUnavailable, f"the daemon is starting: {_LATER}"),
    0x11: (exceptions.RemoteServiceUnavailable, "the daemon is shutting down"),
    0x12: (exceptions.RemoteServiceUnavailable, "the daemon is out of memory"),
    0x13: (exceptions.StorageFull, "there is no free VDI id"),
    0x14: (exceptions.BackendException, "protocol version mismatch: is it Sheepdog 1.0?"),
    0x15: (exceptions.StorageFull, "the cluster has no space for new objects"),
    0x16: (
        exceptions.BackendException,
        "the cluster was never formatted: `dog cluster format` does it",
    ),
    0x17: (exceptions.RemoteServiceUnavailable, "the cluster waits for nodes to join"),
    0x18: (exceptions.RemoteServiceUnavailable, "the node could not join the cluster"),
    0x19: (exceptions.RemoteServiceUnavailable, "the cluster has halted: too few nodes"),
    0x1A: (exceptions.ImageImmutable, "the object belongs to a snapshot"),
    0x81: (exceptions.RemoteServiceUnavailable, f"the cluster is changing: {_LATER}"),
    0x82: (exceptions.RemoteServiceUnavailable, f"the cluster is changing: {_LATER}"),
    0x86: (exceptions.RemoteServiceUnavailable, "the nodes cannot reach each other"),
    0x8D: (exceptions.RemoteServiceUnavailable, "the daemon is being stopped"),
    0x8F: (exceptions.RemoteServiceUnavailable, f"the cluster is busy: {_LATER}"),
}

_UNKNOWN = (exceptions.BackendException, _LOG)


def error_of(result: int, what: str) -> Exception:
    """The exception for *result*, which was the answer to *what*."""
    raised, reason = TABLE.get(result, _UNKNOWN)
    return raised(f"{what}: {reason} (sheepdog result {result:#04x})")
