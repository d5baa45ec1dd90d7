# SPDX-License-Identifier: Apache-2.0
"""From files and the command line to the stores and the settings of a mount.

Each mount has a ``ConfigOpts`` of its own; oslo.config's global one is left to
whoever embeds this.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from storefs import config_files, multi_backend, opts
from storefs.drivers.state import state_directory
from storefs.mount_options import MountOptions
from storefs.streams.engine import Settings

#: Glance's own stores: hidden in the mount, and only there if they are configured
RESERVED = {"os_glance_staging_store": "file", "os_glance_tasks_store": "file"}

MiB = 1024 * 1024

#: the spool's name inside Glance's staging directory
SPOOL = ".storefs-spool"

#: the store of a mount without any configuration
EMBEDDED = "images"


class ConfigurationError(Exception):
    """A configuration that says nothing sensible; the text says where and what."""


def load(
    files: Sequence[str] = (),
    directories: Sequence[str] = (),
    overrides: Mapping[str, str] | None = None,
) -> cfg.ConfigOpts:
    """Read the configuration; raises `ConfigurationError`.

    Without *files* and *directories* the default places are read, and without
    any store in them the embedded one is configured. *overrides* are values for
    options of ``[storefs]``.
    """
    conf = _parse(list(files) or ([] if directories else default_files()), directories)
    opts.register(conf)
    _override(conf, overrides or {})
    _check_values(conf)
    embedded = _add_embedded(conf, explicit=bool(files or directories))
    multi_backend.register_store_opts(conf, reserved(conf))
    if embedded:
        conf.set_default("filesystem_store_datadir", embedded, group=EMBEDDED)
    _check_default(conf)
    return conf


def default_files() -> list[str]:
    """Those of the default places that exist; the user's own counts last."""
    user = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    places = (Path("/etc/storefs/storefs.conf"), Path(user) / "storefs" / "storefs.conf")
    return [str(place) for place in places if place.is_file()]


def _parse(files: Iterable[str], directories: Iterable[str]) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    arguments = [f"--config-file={os.path.abspath(file)}" for file in files]
    arguments += [f"--config-dir={os.path.abspath(directory)}" for directory in directories]
    try:
        conf(arguments, project="storefs", default_config_files=[], default_config_dirs=[])
    except (cfg.ConfigFilesNotFoundError, cfg.ConfigFilesPermissionDeniedError) as exc:
        names = ", ".join(exc.config_files)
        raise ConfigurationError(
            f"cannot read {names}: check the name after --config-file and who may read it"
        ) from exc
    except cfg.ConfigDirNotFoundError as exc:
        raise ConfigurationError(f"{exc.config_dir} is no directory: see --config-dir") from exc
    except cfg.ConfigFileParseError as exc:
        raise ConfigurationError(_parse_error(exc)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"a configuration file is not UTF-8: {exc}") from exc
    return conf


def _parse_error(error: cfg.ConfigFileParseError) -> str:
    """oslo.config's text without what comes after the line number: it may be a password."""
    place, _, reason = str(error.msg).removeprefix("at ").partition(", ")
    return (
        f"{place}: {reason.rpartition(': ')[0] or reason}; expected `[section]` or `option = value`"
    )


def _override(conf: cfg.ConfigOpts, overrides: Mapping[str, str]) -> None:
    for name, value in overrides.items():
        try:
            conf.set_override(name, value, group=opts.GROUP)
        except ValueError as exc:
            raise ConfigurationError(f"-o {name}={value}: {exc}") from exc


def _check_values(conf: cfg.ConfigOpts) -> None:
    for group, options in (("DEFAULT", opts.GLANCE_OPTS), (opts.GROUP, opts.STOREFS_OPTS)):
        for option in options:
            _check_value(conf, group, option)
    if not _is_digest(conf.hashing_algorithm):
        raise ConfigurationError(
            f"{_place(conf, 'DEFAULT', 'hashing_algorithm')}hashing_algorithm "
            f"{conf.hashing_algorithm!r} is unknown: sha512 is Glance's default"
        )


def _check_value(conf: cfg.ConfigOpts, group: str, option: cfg.Opt) -> None:
    try:
        _ = conf[option.dest] if group == "DEFAULT" else conf[group][option.dest]
    except ValueError as exc:
        reason = str(exc).rpartition("is not valid: ")[2]
        place = _place(conf, group, option.dest)
        raise ConfigurationError(f"{place}[{group}] {option.dest}: {reason}") from exc


def _place(conf: cfg.ConfigOpts, group: str, name: str) -> str:
    found = config_files.find_option(conf, group, {name})
    return f"{found[0]}:{found[1]}: " if found else ""


def _is_digest(name: str) -> bool:
    """shake has no length of its own, so it makes no multihash."""
    return name in hashlib.algorithms_available and not name.startswith("shake")


def _add_embedded(conf: cfg.ConfigOpts, *, explicit: bool) -> str | None:
    """Configure the embedded store if there is no other; returns its directory."""
    if conf.enabled_backends:
        return None
    if explicit:
        raise ConfigurationError(
            f"no stores in {', '.join(config_files.files(conf)) or 'the configuration'}: add e.g. "
            "`enabled_backends = images:file` to [DEFAULT] and a section [images]"
        )
    conf.set_override("enabled_backends", {EMBEDDED: "file"})
    return str(data_directory() / EMBEDDED)


def data_directory() -> Path:
    """Where what belongs to the user who mounts is kept."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "storefs"


def reserved(conf: cfg.ConfigOpts) -> dict[str, str]:
    """Those reserved stores that have a section in the files."""
    sections = {found.group for found in config_files.assignments(conf)}
    return {name: kind for name, kind in RESERVED.items() if name in sections}


def _check_default(conf: cfg.ConfigOpts) -> None:
    name = conf.glance_store.default_backend
    if name and name not in conf.enabled_backends:
        place = _place(conf, "glance_store", "default_backend")
        known = ", ".join(conf.enabled_backends)
        raise ConfigurationError(f"{place}default_backend {name!r} is none of the stores: {known}")


def default_store(conf: cfg.ConfigOpts) -> str | None:
    """The store for images that name none: as configured, or the only one."""
    if conf.glance_store.default_backend:
        return str(conf.glance_store.default_backend)
    ours = [name for name in conf.enabled_backends if name not in RESERVED]
    return ours[0] if len(ours) == 1 else None


def complaints(conf: cfg.ConfigOpts) -> list[str]:
    """A line for each option in a store's section that nobody knows; once the stores are made."""
    return [
        f"{unknown.file}:{unknown.line}: [{unknown.group}] has no option {unknown.option!r}"
        + (f": did you mean {unknown.suggestion!r}?" if unknown.suggestion else "")
        for unknown in multi_backend.unknown_options(conf)
    ]


def settings(conf: cfg.ConfigOpts) -> Settings:
    """What the filesystem is to look like."""
    own = conf[opts.GROUP]
    return Settings(
        default_store=default_store(conf),
        uid=os.getuid() if own.uid is None else own.uid,
        gid=os.getgid() if own.gid is None else own.gid,
        umask=int(own.umask, 8),
        read_only=own.read_only,
        memory_budget=own.memory_budget * MiB,
        attribute_timeout=own.attribute_timeout,
        rename_grace=own.rename_grace,
        publish_delay=own.publish_delay,
        drain_timeout=own.drain_timeout,
        spool_directory=spool_directory(conf),
        spool_limit=own.spool_limit * MiB,
        spool_floor=own.spool_min_free * MiB,
        hashing_algorithm=conf.hashing_algorithm,
    )


def spool_directory(conf: cfg.ConfigOpts) -> Path:
    """Where images wait that are not written from start to end."""
    if conf[opts.GROUP].spool_dir:
        return Path(conf[opts.GROUP].spool_dir).absolute()
    if "os_glance_staging_store" in reserved(conf):
        staging = conf.os_glance_staging_store.filesystem_store_datadir
        if staging:
            return Path(staging) / SPOOL
    return state_directory() / "spool"


def mount_options(conf: cfg.ConfigOpts, given: Mapping[str, Any]) -> MountOptions:
    """What the kernel is to be told; *given* is what stood behind ``-o``."""
    own = conf[opts.GROUP]
    return MountOptions(
        fsname=str(given.get("fsname", "storefs")),
        read_only=own.read_only,
        allow_other=own.allow_other,
        allow_root="allow_root" in given,
        read_ahead_kb=own.read_ahead_kb,
        max_background=own.max_background,
    )
