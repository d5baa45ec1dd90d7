# SPDX-License-Identifier: Apache-2.0
"""The images' directory in one datastore: its files by HTTPS, what becomes of them by tasks."""

import contextlib
import email.utils
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pyVmomi import vim

from storefs import exceptions
from storefs.drivers.base import Buffer, Capacity
from storefs.drivers.http_answer import Answer, retried
from storefs.drivers.http_transport import Origin, Transport
from storefs.drivers.http_url import server_of, trusts
from storefs.drivers.vmware.datastores import Datastore
from storefs.drivers.vmware.session import Session
from storefs.drivers.vmware.stream import BodyStream

#: How long a file is waited for that the server says is of the future, seconds.
_SKEW = 2.0

#: How far the clock that dates files may be behind the one that dates answers, seconds:
#: Linux dates files by its last tick.
_BEHIND = 0.1

#: The longest file that is read as a whole, bytes.
_LONGEST = 64 * 1024

_BINARY = {"Content-Type": "application/octet-stream"}


class File(NamedTuple):
    """What the server tells of a file: *size* in bytes, *modified* in seconds since the epoch.

    *last_modified* is the same as it stands in the header, and *now* the server's
    clock when it answered.
    """

    size: int
    modified: int
    last_modified: str = ""
    now: int = 0

    @property
    def version(self) -> str:
        """Servers tell no more than this: there is no ETag. See `Folder.settle`."""
        return f"{self.modified}-{self.size}"

    @property
    def mtime_ns(self) -> int:
        return self.modified * 1_000_000_000


class Folder:
    """Files by their names. Every call raises `storefs.exceptions` alone.

    *server* is ``https://host:port``.
    """

    def __init__(
        self,
        server: str,
        session: Session,
        transport: Transport,
        datastore: Datastore,
        directory: str,
    ) -> None:
        self.datastore = datastore
        self.transport = transport
        self._server = server
        self._session = session
        self._directory = directory
        self._found: tuple[Any, Any] | None = None
        self._made = not directory

    def __repr__(self) -> str:
        return f"<Folder {self.path('')}>"

    def url(self, name: str) -> str:
        """Where the file's bytes are."""
        path = urllib.parse.quote("/".join(filter(None, (self._directory, name))), safe="/")
        where = {"dcPath": self.datastore.datacenter, "dsName": self.datastore.name}
        query = urllib.parse.urlencode(where, quote_via=urllib.parse.quote)
        return f"{self._server}/folder/{path}?{query}"

    def origin(self, name: str) -> Origin:
        """The same for requests."""
        return Origin(self.url(name), self._session.headers, self._session.renew)

    def path(self, name: str) -> str:
        """What tasks call the file."""
        return f"[{self.datastore.name}] {'/'.join(filter(None, (self._directory, name)))}"

    # -- by HTTPS ----------------------------------------------------------------

    def head(self, name: str) -> File:
        """What is there; `NotFound`, also for what is no file."""
        answer = self._asked("HEAD", name)
        answer.discard()
        headers = answer.headers
        size, last_modified = headers.get("Content-Length", ""), headers.get("Last-Modified", "")
        modified = _seconds(last_modified)
        # Folders are shown as pages, which have neither, at a URL that ends so.
        folder = urllib.parse.urlsplit(answer.url).path.endswith("/")
        if folder or modified is None or not size.isdecimal():
            raise exceptions.NotFound(f"{self.path(name)} is no file")
        now = _seconds(headers.get("Date", "")) or 0
        return File(int(size), modified, last_modified, now)

    def get(self, name: str) -> bytes:
        """A short file; `NotFound`."""

        def ask() -> bytes:
            answer = accepted(self.transport.send("GET", self.origin(name)))
            try:
                return answer.read(_LONGEST)
            finally:
                answer.discard()

        return retried(ask, self.transport.settings.back_off)

    def put(self, name: str, data: Buffer) -> str:
        """A short file, replacing what is there, not in one step; the URL that took it."""
        if not self._made:  # vcsim makes it by itself, but nothing says that others do
            self._make_directory()
        try:
            answer = self._asked("PUT", name, _BINARY, data)
        except exceptions.NotFound:
            self._make_directory()
            answer = self._asked("PUT", name, _BINARY, data)
        answer.discard()
        return answer.url

    def stream(self, name: str, size: int | None) -> BodyStream:
        """A file on its way; of *size* bytes if that is known. For now it is there, and empty."""
        url = self.put(name, b"")
        ours = trusts(self.url(name), url)
        origin = Origin(url, self._session.headers if ours else dict)
        told = {} if size is None else {"Content-Length": str(size)}
        headers = {**_BINARY, **told}
        return BodyStream(
            lambda body: accepted(self.transport.send("PUT", origin, headers, body=body))
        )

    def settle(self, name: str) -> None:
        """Wait until a file that is written from now on has another version than this one.

        Versions are whole seconds, so one that is replaced or removed in the second it
        was written in could come again.
        """
        deadline = time.monotonic() + _SKEW
        with contextlib.suppress(exceptions.NotFound):
            while (there := self.head(name)).now <= there.modified:
                if not there.now or time.monotonic() > deadline:
                    return
                time.sleep(0.1)
            if there.now == there.modified + 1:
                time.sleep(_BEHIND)

    def _asked(
        self,
        method: str,
        name: str,
        headers: Mapping[str, str] | None = None,
        body: Buffer | None = None,
    ) -> Answer:
        origin = self.origin(name)

        def ask() -> Answer:
            return accepted(self.transport.send(method, origin, headers, body=body))

        return retried(ask, self.transport.settings.back_off)

    # -- by tasks ----------------------------------------------------------------

    def move(self, source: str, target: str, *, replace: bool) -> None:
        """One task, done on the server; `Duplicate`, `NotFound`."""
        here, there = self.path(source), self.path(target)

        def start(content: Any) -> Any:
            datacenter = self._objects(content)[0]
            manager = content.fileManager
            return manager.MoveDatastoreFile_Task(here, datacenter, there, datacenter, replace)

        self._run(f"rename {here}", start)

    def copy(self, source: str, target: str) -> None:
        """The same for another copy of it, which was written now."""
        here, there = self.path(source), self.path(target)

        def start(content: Any) -> Any:
            datacenter = self._objects(content)[0]
            manager = content.fileManager
            return manager.CopyDatastoreFile_Task(here, datacenter, there, datacenter, True)

        self._run(f"copy {here}", start)

    def delete(self, name: str) -> None:
        """`NotFound`. A folder would go with all that is in it: see that it is a file."""
        path = self.path(name)

        def start(content: Any) -> Any:
            datacenter = self._objects(content)[0]
            return content.fileManager.DeleteDatastoreFile_Task(path, datacenter)

        self._run(f"delete {path}", start)

    def files(self) -> Iterator[tuple[str, File]]:
        """All files with their names, temporaries and notes among them; no folders."""
        try:
            result = self._run(f"list {self.path('')}", self._search)
        except exceptions.NotFound:
            return  # the directory comes with the first image
        for found in result.file:
            if not isinstance(found, vim.host.DatastoreBrowser.FolderInfo):
                modified = int(found.modification.timestamp()) if found.modification else 0
                yield found.path, File(found.fileSize or 0, modified)

    def _search(self, content: Any) -> Any:
        details = vim.host.DatastoreBrowser.FileInfo.Details(
            fileType=True, fileSize=True, modification=True, fileOwner=False
        )
        # Without details nothing is told but names, and without a pattern nothing is found.
        spec = vim.host.DatastoreBrowser.SearchSpec(details=details, matchPattern=["*"])
        browser = self._objects(content)[1].browser
        return browser.SearchDatastore_Task(self.path("").rstrip(), spec)

    def _make_directory(self) -> None:
        path = self.path("").rstrip()
        with contextlib.suppress(exceptions.Duplicate):
            self._session.call(
                f"make the directory {path}",
                lambda content: content.fileManager.MakeDirectory(
                    path, self._objects(content)[0], True
                ),
            )
        self._made = True

    def _run(self, doing: str, start: Callable[[Any], Any]) -> Any:
        try:
            return self._session.run(doing, start)
        except exceptions.RemoteServiceUnavailable:
            self._found = None  # looked up again: it may be another server's since
            raise

    # -- the datastore -------------------------------------------------------------

    def space(self) -> Capacity:
        """Of the datastore; none free while no image could be written."""

        def summary(content: Any) -> Any:
            return self._objects(content)[1].summary

        found = self._session.read(f"tell the space of {self.datastore}", summary)
        usable = found.accessible and found.maintenanceMode in {None, "", "normal"}
        return Capacity(found.capacity or 0, (found.freeSpace or 0) if usable else 0)

    def is_full(self, needed: int) -> bool:
        """Is there certainly no room for *needed* bytes?"""
        try:
            return self.space().free < needed
        except exceptions.GlanceStoreException:
            return False

    def _objects(self, content: Any) -> tuple[Any, Any]:
        """The datacenter and the datastore, as the API knows them."""
        if self._found is None:
            datacenter = content.searchIndex.FindByInventoryPath(self.datastore.datacenter)
            if datacenter is None or not isinstance(datacenter, vim.Datacenter):
                raise self._missing(f"no datacenter {self.datastore.datacenter}")
            stores = [d for d in datacenter.datastore if d.name == self.datastore.name]
            if not stores:
                raise self._missing(f"no datastore {self.datastore}")
            self._found = datacenter, stores[0]
        return self._found

    def _missing(self, what: str) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(
            f"{server_of(self._server)} has {what}, or does not show it: check vmware_datastores"
        )


def accepted(answer: Answer) -> Answer:
    """*answer*, unless it says that nothing was done."""
    if answer.status >= 300:
        raise answer.explained() or answer.refusal()
    return answer


def _seconds(date: str) -> int | None:
    try:
        return int(email.utils.parsedate_to_datetime(date).timestamp())
    except ValueError:
        return None
