# SPDX-License-Identifier: Apache-2.0
"""Add a file with glance_store itself: ``upstream_add.py FILE DATADIR IMAGE_ID``.

Runs in a virtual environment of its own; prints the seconds that
add_with_multihash took, without imports and configuration. Another type than
``file`` and its options may follow: ``... IMAGE_ID s3 NAME=VALUE ...``.
"""

import os
import sys
import time

from glance_store import multi_backend
from oslo_config import cfg


def main() -> None:
    path, datadir, image_id, *store = sys.argv[1:]
    kind, *options = store or ["file", f"filesystem_store_datadir={datadir}"]
    conf = cfg.CONF
    conf.register_opts([cfg.DictOpt("enabled_backends")])
    conf([], project="bench")
    conf.set_override("enabled_backends", {"bench": kind})
    multi_backend.register_store_opts(conf)
    conf.set_override("default_backend", "bench", group="glance_store")
    for option in options:
        conf.set_override(*option.split("=", 1), group="bench")
    multi_backend.create_multi_stores(conf)
    with open(path, "rb") as file:
        begun = time.monotonic()
        size = os.path.getsize(path)
        multi_backend.add_with_multihash(conf, image_id, file, size, "bench", "sha512")
        print(time.monotonic() - begun)


if __name__ == "__main__":
    main()
