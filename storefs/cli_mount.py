# SPDX-License-Identifier: Apache-2.0
"""`storefs mount`: check, perhaps fork, open the stores, serve."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping

from oslo_config import cfg

from storefs import configuration, daemon, logs, mount_options, mountpoint, multi_backend, opts
from storefs.driver import Store

LOG = logging.getLogger(__name__)

#: what stands in the first field of an fstab line that names no file
_NO_FILE = ("none", "storefs")


def run(arguments: argparse.Namespace) -> int:
    """Mount; in the foreground this returns when it is unmounted."""
    _split_positionals(arguments)
    given = mount_options.parse(arguments.options)
    conf = configuration.load(
        arguments.config_file, arguments.config_dir, _overrides(arguments, given)
    )
    options = configuration.mount_options(conf, given)
    target = _target(arguments, conf)
    mountpoint.check(target, options)
    target = mountpoint.absolute(target)
    where = start_logging(conf, target, background=arguments.daemon)

    def work(on_ready: Callable[[], None]) -> int:
        return serve(conf, target, options, on_ready)

    if not arguments.daemon:
        return work(lambda: None)
    code = daemon.run(work)
    if code == 0:
        print(f"storefs: mounted on {target}, logging to {where}", file=sys.stderr)
    return code


def _split_positionals(arguments: argparse.Namespace) -> None:
    *spec, arguments.mountpoint = arguments.mountpoint or [None]
    if len(spec) > 1:
        raise mount_options.BadMountOption("give one directory to mount on")
    if spec:
        arguments.daemon = True
        arguments.config_file += [name for name in spec if name not in _NO_FILE]


def _overrides(arguments: argparse.Namespace, given: Mapping[str, str]) -> dict[str, str]:
    overrides = mount_options.for_storefs(given)
    if arguments.debug:
        overrides["debug"] = "true"
    if arguments.log_file:
        overrides["log_file"] = arguments.log_file
    return overrides


def _target(arguments: argparse.Namespace, conf: cfg.ConfigOpts) -> str:
    target = arguments.mountpoint or conf[opts.GROUP].mountpoint
    if not target:
        raise mount_options.BadMountOption(
            "where to? Name the directory to mount on, or set `mountpoint` in [storefs]"
        )
    return str(target)


def start_logging(conf: cfg.ConfigOpts, target: str, *, background: bool) -> str:
    """Install the log's handler; returns where it goes. Raises `MountError`."""
    own = conf[opts.GROUP]
    try:
        if own.log_file:
            logs.to_file(os.path.abspath(own.log_file), debug=own.debug)
            return str(own.log_file)
        if background:
            return logs.in_background(target, debug=own.debug)
    except OSError as exc:
        raise mountpoint.MountError(
            f"cannot log to {exc.filename or logs.SYSLOG}: {exc.strerror}; see --log-file"
        ) from exc
    logs.to_stderr(debug=own.debug)
    return "stderr"


def serve(
    conf: cfg.ConfigOpts,
    target: str,
    options: mount_options.MountOptions,
    on_ready: Callable[[], None],
) -> int:
    """Open the stores and serve them on *target*; raises `MountError`."""
    from storefs.fuse import session
    from storefs.streams.vfs import Vfs

    stores = open_stores(conf)
    try:
        return session.serve(
            target, lambda: Vfs(stores, configuration.settings(conf)), options, on_ready
        )
    finally:
        multi_backend.close_stores(conf)


def open_stores(conf: cfg.ConfigOpts) -> dict[str, Store]:
    """Every store, broken ones included; tells what is wrong. `MountError` if none is usable."""
    multi_backend.create_multi_stores(conf, configuration.reserved(conf))
    stores = dict(multi_backend.stores())
    usable = [name for name, store in stores.items() if store.state.name != "broken"]
    for line in configuration.complaints(conf):
        LOG.warning("%s", line)
        tell(line)
    for name in stores.keys() - usable:
        tell(f"store {name!r} is broken: {stores[name].state.reason}")
    if not any(name in usable for name, store in stores.items() if not store.reserved):
        raise mountpoint.MountError("no store is usable; mend one of them and mount again")
    if configuration.default_store(conf) is None:
        LOG.info("No default_backend in [glance_store]: files cannot be written to the root")
    return stores


def tell(message: str) -> None:
    """Say on stderr what the log has, unless that is where the log goes."""
    if not any(type(handler) is logging.StreamHandler for handler in logging.getLogger().handlers):
        print(f"storefs: {message}", file=sys.stderr)
