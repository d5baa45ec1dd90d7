# SPDX-License-Identifier: Apache-2.0
"""What can be said about a store in RBD: Glance's options."""

from oslo_config import cfg

OPTIONS = (
    cfg.StrOpt(
        "rbd_store_pool",
        default="images",
        help="The pool the images are in.",
    ),
    cfg.StrOpt(
        "rbd_store_user",
        help="The CephX user, without the `client.` before it. Default: admin, as Ceph's own "
        "programs have it.",
    ),
    cfg.StrOpt(
        "rbd_store_ceph_conf",
        default="",
        help="Ceph's configuration file, which names monitors and keyring. Default: where Ceph's "
        "own programs look, /etc/ceph/ceph.conf first.",
    ),
    cfg.IntOpt(
        "rbd_store_chunk_size",
        default=8,
        min=1,
        max=32,
        help="How long the objects are of which new images are made, MiB; a power of two, else "
        "the next lower one counts.",
    ),
    cfg.IntOpt(
        "rados_connect_timeout",
        default=-1,
        min=-1,
        help="How many seconds Ceph may take to let a client in, and to answer it. -1: what "
        "Ceph's configuration says, and 30 where it says nothing. 0: wait for ever.",
    ),
    cfg.BoolOpt(
        "rbd_thin_provisioning",
        default=False,
        help="Leave out objects of which all bytes that were written are zeros. What nobody wrote, "
        "in a sparse image, is left out in any case.",
    ),
)
