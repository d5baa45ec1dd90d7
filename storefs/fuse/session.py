# SPDX-License-Identifier: Apache-2.0
"""From mounting to unmounting: the life of one mount.

It ends in one of two ways. Somebody unmounts from outside (umount, fusermount3):
the kernel ends the conversation. Or a signal asks for it: the name is detached
first, so nobody new comes in; who is in has `DRAIN` seconds to finish; then
requests that hang on a store that does not answer are given up. No store can
keep the process for ever.
"""

import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence

import pyfuse3
import trio

from storefs import mountpoint as mountpoints
from storefs.fuse import kernel, memory
from storefs.fuse.guard import Guard
from storefs.fuse.status import MountOperations
from storefs.mount_options import MountOptions
from storefs.streams.spooled import Spooled
from storefs.streams.vfs import Vfs

LOG = logging.getLogger(__name__)

#: pyfuse3 serves each request in a task. 99, its default, is fewer than the
#: requests one dead store can hold; a waiting task costs some KiB.
MAX_TASKS = 2000

#: seconds for the kernel's first request to be answered
START_TIMEOUT = 30

#: seconds between a signal and the end of the conversation with the kernel
DRAIN = 5

#: seconds for requests that are under way then
FINISH = 5

#: what asks us to unmount
SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: seconds for streams to be given up, beside what spooled images have to be stored
CLOSE_TIMEOUT = 60

#: exit code: all is well, but images wait in the spool for the next mount
PENDING = 3


def serve(
    mountpoint: str,
    vfs_factory: Callable[[], Vfs],
    options: MountOptions,
    on_ready: Callable[[], None],
) -> int:
    """Mount on *mountpoint* (absolute) and serve it until it is unmounted.

    *on_ready* is called, in a thread, when the mount answers. The result is an
    exit code: 0 if all went well to the end, `PENDING` if images could not be
    stored and wait in the spool. Raises `MountError` when mounting did not work.
    """
    memory.keep_buffers()
    guard = Guard()
    try:
        return _serve(mountpoint, vfs_factory(), options, on_ready, guard)
    finally:
        guard.dismiss()


def _serve(
    mountpoint: str,
    vfs: Vfs,
    options: MountOptions,
    on_ready: Callable[[], None],
    guard: Guard,
) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal is no reason to unmount
    # A signal between mounting and listening would leave a dead mount: it has to wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    operations = MountOperations(vfs)
    operations.mountpoint = os.path.realpath(mountpoint)
    _init(operations, mountpoint, options)
    session = Session(mountpoint, vfs, options, on_ready)
    if session.mount is not None:
        guard.watch(session.mount.device)
    try:
        trio.run(session.run)
    except ExceptionGroup as group:
        return _failed(_first(group))
    finally:
        LOG.info("Unmounted from %s", mountpoint)
        session.detach()
        pyfuse3.close(unmount=session.mount is None)
    return PENDING if session.pending else 0


def _init(operations: MountOperations, mountpoint: str, options: MountOptions) -> None:
    try:
        pyfuse3.init(operations, mountpoint, options.for_fuse())
    except RuntimeError as exc:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        raise mountpoints.MountError(
            f"{mountpoint} could not be mounted: the kernel or fusermount3 refused (see above); "
            "in a container, start it with `--device /dev/fuse --cap-add SYS_ADMIN`"
        ) from exc


def _first(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


def _failed(error: Exception) -> int:
    if isinstance(error, mountpoints.MountError):
        raise error
    LOG.error("The mount ended with an error: %s", error, exc_info=error)
    return 1


class Session:
    """One mount while it is served."""

    def __init__(
        self,
        mountpoint: str,
        vfs: Vfs,
        options: MountOptions,
        on_ready: Callable[[], None],
    ) -> None:
        self.mountpoint = mountpoint
        self.vfs = vfs
        self.options = options
        self.on_ready = on_ready
        self.mount = mountpoints.find(mountpoint)
        self.pending = False

    async def run(self) -> None:
        """Serve until unmounted, then bring everything to an end."""
        async with trio.open_nursery() as background:
            await background.start(self.vfs.serve)
            try:
                await self._answer()
            finally:
                notify_supervisor("STOPPING=1")
                drain = self.vfs.settings.drain_timeout
                with trio.move_on_after(CLOSE_TIMEOUT + drain, shield=True):
                    await trio.to_thread.run_sync(self.detach, abandon_on_cancel=True)
                    self.pending = True  # until it is known better
                    self.pending = _tell_pending(await self.vfs.close())
                background.cancel_scope.cancel()

    def detach(self) -> None:
        """Take the mount away, if it is still there and still this one."""
        now = mountpoints.find(self.mountpoint)
        if now is None or self.mount is None or now.mount_id != self.mount.mount_id:
            return
        try:
            mountpoints.detach(self.mountpoint, lazy=True)
        except mountpoints.MountError as exc:
            LOG.error("%s", exc)

    async def _answer(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._await_signals, nursery)
            nursery.start_soon(self._announce)
            await pyfuse3.main(max_tasks=MAX_TASKS)
            nursery.cancel_scope.cancel()

    async def _announce(self) -> None:
        """Wait until the kernel and we have spoken, then tell who waits for it."""
        try:
            with trio.fail_after(START_TIMEOUT):
                # listing it lets the kernel know every store's directory from the start
                await trio.to_thread.run_sync(os.listdir, self.mountpoint, abandon_on_cancel=True)
        except (OSError, trio.TooSlowError) as exc:
            raise mountpoints.MountError(
                f"{self.mountpoint} was mounted but does not answer ({exc or 'time-out'}); try "
                "again with --debug and look into the log"
            ) from exc
        await trio.to_thread.run_sync(self._ready, abandon_on_cancel=True)

    def _ready(self) -> None:
        if self.mount is not None:
            kernel.tune(self.mount, self.options)
        LOG.info("Mounted on %s", self.mountpoint)
        self.on_ready()
        notify_supervisor("READY=1")

    async def _await_signals(
        self, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with trio.open_signal_receiver(*SIGNALS) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            task_status.started()
            number = await anext(signals)
            LOG.info("Unmounting %s (%s)", self.mountpoint, signal.Signals(number).name)
            nursery.start_soon(self._end, nursery.cancel_scope)
            await anext(signals)
            LOG.warning("Unmounting at once; what is being written is lost")
            nursery.cancel_scope.cancel()

    async def _end(self, serving: trio.CancelScope) -> None:
        await trio.to_thread.run_sync(self.detach, abandon_on_cancel=True)
        await trio.sleep(DRAIN)
        pyfuse3.terminate()
        await trio.sleep(FINISH)
        LOG.warning("Requests are still waiting for a store; giving them up")
        serving.cancel()


def _tell_pending(left: Sequence[Spooled]) -> bool:
    """A line for each image that could not be stored; are there any?"""
    for spooled in left:
        LOG.warning(
            "%s: %s: written, but not stored (%s): it is kept for the next mount",
            spooled.node.store_id,
            spooled.image_id,
            spooled.error or "there was no time",
        )
    return bool(left)


def notify_supervisor(state: str) -> None:
    """Tell systemd, if it waits to be told: see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode("ascii"), address)
        except OSError as exc:
            LOG.warning("The supervisor could not be told %s: %s", state, exc.strerror)
