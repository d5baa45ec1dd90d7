# SPDX-License-Identifier: Apache-2.0
"""What can be said about a store in Sheepdog: Glance's options, and a few of our own."""

from oslo_config import cfg

OPTIONS = (
    cfg.StrOpt(
        "sheepdog_store_address",
        default="127.0.0.1",
        help="Where a sheep daemon is: a host name, an IPv4 or IPv6 address. Several, with "
        "commas between, each with :PORT if it is another one than sheepdog_store_port, are "
        "gateways to one cluster: the next one is asked when one does not answer.",
    ),
    cfg.PortOpt(
        "sheepdog_store_port",
        default=7000,
        min=1,
        help="The port of the sheep daemons.",
    ),
    cfg.StrOpt(
        "sheepdog_store_prefix",
        default="",
        help="What the names of the store's VDIs begin with, in a cluster that holds other things "
        "than images as well. It is no part of the images' names.",
    ),
    cfg.IntOpt(
        "sheepdog_store_chunk_size",
        default=64,
        min=1,
        help="How many MiB of an image may be under way to the cluster at once. Objects of 4 MiB "
        "are sent, one on each of sheepdog_store_connections.",
    ),
    cfg.IntOpt(
        "sheepdog_store_connections",
        default=4,
        min=1,
        max=32,
        help="How many requests for the data of one image are under way at once, each on a "
        "connection of its own.",
    ),
    cfg.FloatOpt(
        "sheepdog_store_connect_timeout",
        default=5.0,
        min=0.001,
        help="How many seconds a sheep may take to accept a connection.",
    ),
    cfg.FloatOpt(
        "sheepdog_store_timeout",
        default=30.0,
        min=0.001,
        help="How many seconds a sheep may take to answer; a second more for each 64 KiB that "
        "are sent or received.",
    ),
)
