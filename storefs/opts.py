# SPDX-License-Identifier: Apache-2.0
"""The options that belong to no driver.

Those of ``[DEFAULT]`` and ``[glance_store]`` are Glance's, so that an unchanged
glance-api.conf mounts; those of ``[storefs]`` are ours, and each of them can
also be given to the mount as ``-o name=value``.
"""

import importlib.metadata
from collections.abc import Iterator

from oslo_config import cfg, types

from storefs import store_options

GROUP = "storefs"

#: the entry points third parties add drivers with
DRIVERS = "storefs.drivers"

GLANCE_OPTS: tuple[cfg.Opt, ...] = (
    cfg.DictOpt(
        "enabled_backends",
        sample_default="images:file,web:http",
        help="The stores, as `identifier:type` pairs. Each store is a directory of the mount, "
        "and its options are in the section of the same name. Without this option there is one "
        "`file` store, `images`, in the user's data directory.",
    ),
    cfg.StrOpt(
        "hashing_algorithm",
        default="sha512",
        help="The algorithm of the multihash (os_hash_value) that is computed beside the md5 "
        "while an image is written.",
    ),
)

_OCTAL = types.String(regex=r"^0*[0-7]{1,3}$", quotes=True)

STOREFS_OPTS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        "mountpoint",
        help="Where to mount when the command line does not say.",
    ),
    cfg.IntOpt(
        "memory_budget",
        default=128,
        min=16,
        help="MiB that all open images together may hold in memory, for reading ahead and for "
        "parts on their way to a store.",
    ),
    cfg.IntOpt(
        "uid",
        min=0,
        help="The owner of everything in the mount, as a number. Default: who mounts.",
    ),
    cfg.IntOpt(
        "gid",
        min=0,
        help="The group of everything in the mount, as a number. Default: that of who mounts.",
    ),
    cfg.Opt(
        "umask",
        type=_OCTAL,
        default="022",
        help="The permissions that are taken away, octal, from 666 (images) and 777 (stores).",
    ),
    cfg.BoolOpt(
        "read_only",
        default=False,
        help="Mount without the right to write anything; the same as `-o ro`.",
    ),
    cfg.BoolOpt(
        "allow_other",
        default=False,
        help="Let other users use the mount, as far as uid, gid and umask permit. Unless root "
        "mounts, /etc/fuse.conf must say `user_allow_other`.",
    ),
    cfg.FloatOpt(
        "attribute_timeout",
        default=1.0,
        min=0.0,
        help="Seconds for which the kernel may answer for names and attributes on its own: how "
        "long a change made elsewhere can stay unseen.",
    ),
    cfg.FloatOpt(
        "rename_grace",
        default=60.0,
        min=0.0,
        help="Seconds a written temporary of rsync (`.NAME.XXXXXX`) waits for its rename before "
        "it is given up.",
    ),
    cfg.FloatOpt(
        "publish_delay",
        default=5.0,
        min=0.0,
        help="Seconds after its last close until an image that was not written from start to end "
        "is stored, unless fsync asks for it earlier.",
    ),
    cfg.FloatOpt(
        "drain_timeout",
        default=60.0,
        min=0.0,
        help="Seconds an unmount waits for images that are still to be stored. What is left "
        "then stays in the spool, and is stored by the next mount.",
    ),
    cfg.StrOpt(
        "spool_dir",
        help="The local directory for images that are not written from start to end, until they "
        "are stored. Default: `.storefs-spool` in the directory of os_glance_staging_store, where "
        "that is configured, else /var/lib/storefs/spool, or ~/.local/state/storefs/spool for "
        "other users than root.",
    ),
    cfg.IntOpt(
        "spool_limit",
        default=0,
        min=0,
        help="MiB all images in the spool together may hold; 0 for no limit. Who writes more "
        "gets ENOSPC.",
    ),
    cfg.IntOpt(
        "spool_min_free",
        default=256,
        min=0,
        help="MiB that stay free on the file system of the spool. Who would use them gets ENOSPC.",
    ),
    cfg.IntOpt(
        "read_ahead_kb",
        default=8192,
        min=0,
        help="How far the kernel reads ahead, KiB. Only root can set it; the kernel's own "
        "default is 128.",
    ),
    cfg.IntOpt(
        "max_background",
        default=64,
        min=1,
        max=65535,
        help="How many requests the kernel may have under way in the background (read-ahead "
        "and the like). Only root can set it; the kernel's own default is 12.",
    ),
    cfg.StrOpt(
        "log_file",
        help="Where to log instead of stderr (in the foreground) or syslog (with --daemon).",
    ),
    cfg.BoolOpt(
        "debug",
        default=False,
        help="Log every step, too; the same as --debug.",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register what is ours and what of Glance's is read here; may be called again."""
    conf.register_opts(GLANCE_OPTS)
    conf.register_opts(STOREFS_OPTS, group=GROUP)


def names() -> list[str]:
    """The names of the ``[storefs]`` options that ``-o`` knows."""
    return [opt.dest for opt in STOREFS_OPTS if opt.dest != "mountpoint"]


def driver_opts() -> Iterator[tuple[str, list[cfg.Opt]]]:
    """Each installed store type with its options, sorted; needs every driver to import."""
    points = importlib.metadata.entry_points(group=DRIVERS)
    for point in sorted(points, key=lambda point: point.name):
        yield point.name, list(point.load().OPTIONS)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Every option by section, for oslo-config-generator and the documentation.

    A driver's options stand in a section named like its type; in a configuration
    they go into the section of each store of that type, with what every store
    understands, or into [backend_defaults].
    """
    return [
        ("DEFAULT", list(GLANCE_OPTS)),
        (store_options.SINGLE_STORE_GROUP, list(store_options.GLANCE_STORE_OPTIONS)),
        (GROUP, list(STOREFS_OPTS)),
        (store_options.DEFAULTS_GROUP, list(store_options.STORE_OPTIONS)),
        *driver_opts(),
    ]
