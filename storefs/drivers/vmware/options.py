# SPDX-License-Identifier: Apache-2.0
"""What can be said about a store on vSphere: Glance's options, and a few of our own."""

from oslo_config import cfg

OPTIONS = (
    cfg.StrOpt(
        "vmware_server_host",
        help="The vCenter or ESXi server, as host or host:port. Required.",
    ),
    cfg.StrOpt(
        "vmware_server_username",
        help="Who logs in there. Required.",
    ),
    cfg.StrOpt(
        "vmware_server_password",
        secret=True,
        help="The password of vmware_server_username. Required.",
    ),
    cfg.MultiStrOpt(
        "vmware_datastores",
        help="The datastores images are in, each DATACENTER_PATH:DATASTORE[:WEIGHT]. An image "
        "goes where it fits: highest weight first, then most free space. Required.",
    ),
    cfg.StrOpt(
        "vmware_store_image_dir",
        default="/openstack_glance",
        help="The directory of the images in each datastore. It is made if it is missing.",
    ),
    cfg.IntOpt(
        "vmware_api_retry_count",
        default=10,
        min=1,
        help="How often a request is tried again that a server broke off or was too busy for. "
        "The waits grow from 0.05 to 1 second.",
    ),
    cfg.IntOpt(
        "vmware_task_poll_interval",
        default=5,
        min=1,
        help="The longest wait, in seconds, before a task (a deletion, a renaming) is asked "
        "about again; the first waits are short.",
    ),
    cfg.BoolOpt(
        "vmware_insecure",
        default=False,
        help="Do not check the server's certificate. Without effect where vmware_ca_file is set.",
    ),
    cfg.StrOpt(
        "vmware_ca_file",
        help="A file with the certificates of the authorities that are trusted, in PEM, "
        "instead of the system's.",
    ),
    cfg.FloatOpt(
        "vmware_store_connect_timeout",
        default=10.0,
        min=0.001,
        help="How many seconds the server may take to accept a connection, and to take "
        "256 KiB of what is sent.",
    ),
    cfg.FloatOpt(
        "vmware_store_read_timeout",
        default=60.0,
        min=0.001,
        help="How many seconds may pass without data; a server that sends less than 16 KiB "
        "in this time counts as one that sends nothing.",
    ),
    cfg.FloatOpt(
        "vmware_store_task_timeout",
        default=300.0,
        min=0.001,
        help="How many seconds a task (a deletion, a renaming, a listing) may take.",
    ),
    cfg.IntOpt(
        "vmware_store_read_connections",
        default=3,
        min=1,
        max=64,
        help="How many pieces of one open image are fetched at once. More pay where the server is "
        "far away; where it is near they only take turns.",
    ),
)
