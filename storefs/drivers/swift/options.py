# SPDX-License-Identifier: Apache-2.0
"""What can be said about a store in Swift: Glance's options, and a few of our own."""

from oslo_config import cfg

#: The unit of Glance's two sizes, bytes: neither MB nor MiB (glance_store, ONE_MB).
MB = 1000 * 1024

_WHO = (
    cfg.StrOpt(
        "default_swift_reference",
        default="ref1",
        help="The section of swift_store_config_file whose account takes new images. It also "
        "stands in the locations of the images, in place of credentials.",
    ),
    cfg.StrOpt(
        "swift_store_config_file",
        help="A file with a section for each account: auth_address, user (project:user) and "
        "key, or application_credential_id and application_credential_secret; project_name, "
        "project_id, user_domain_id or user_domain_name, project_domain_id or "
        "project_domain_name, auth_version. Without it the options below are the one account.",
    ),
    cfg.StrOpt(
        "swift_store_auth_address",
        help="Where to log in: a URL, as https://keystone:5000/v3 or, for version 1, "
        "https://swift/auth/v1.0. Without a scheme https is meant.",
    ),
    cfg.StrOpt(
        "swift_store_user",
        secret=True,
        help="Who logs in, as project:user (with auth version 1: account:user).",
    ),
    cfg.StrOpt(
        "swift_store_key",
        secret=True,
        help="The password that belongs to swift_store_user.",
    ),
    cfg.StrOpt(
        "swift_store_auth_version",
        default="3",
        choices=[
            ("1", "Swift's own: swauth, tempauth, Ceph"),
            ("2", "Keystone's old one"),
            ("3", "Keystone's"),
        ],
        help="How to log in.",
    ),
    cfg.StrOpt(
        "swift_store_application_credential_id",
        secret=True,
        help="An application credential of Keystone, in place of swift_store_user.",
    ),
    cfg.StrOpt(
        "swift_store_application_credential_secret",
        secret=True,
        help="The secret that belongs to swift_store_application_credential_id.",
    ),
    cfg.StrOpt(
        "swift_store_project_name",
        help="Accepted as in Glance: an application credential knows its project.",
    ),
    cfg.StrOpt(
        "swift_store_project_id",
        help="The same by its id.",
    ),
    cfg.IntOpt(
        "swift_store_expire_soon_interval",
        default=60,
        min=0,
        help="A token is renewed when it expires within so many seconds, but not before two "
        "thirds of its life have passed.",
    ),
)

_WHERE = (
    cfg.StrOpt(
        "swift_store_container",
        default="glance",
        help="The container the images are in, or what the names of their containers begin "
        "with, before a _.",
    ),
    cfg.IntOpt(
        "swift_store_multiple_containers_seed",
        default=0,
        min=0,
        max=32,
        help="How many of the first characters of an image's name make the name of its "
        "container; dashes do not count. 0: one container for all.",
    ),
    cfg.BoolOpt(
        "swift_store_create_container_on_put",
        default=False,
        help="Create a container that is not there when an image is added.",
    ),
    cfg.BoolOpt(
        "swift_store_multi_tenant",
        default=False,
        help="Keep images in the account of whoever asks Glance, each in a container of its "
        "own. A mount has nobody who asks: it shows the store's own account.",
    ),
    cfg.ListOpt(
        "swift_store_admin_tenants",
        default=[],
        help="The ids of projects that may read and write every container of a store with "
        "swift_store_multi_tenant.",
    ),
    cfg.BoolOpt(
        "swift_store_use_trusts",
        default=True,
        help="With swift_store_multi_tenant: let the store's own user act for whoever asks "
        "while an image is read or written, so that no token can expire meanwhile.",
    ),
    cfg.StrOpt(
        "swift_store_endpoint",
        help="The account's URL, up to the container's name, in place of the one that is "
        "told at the login. %(project_id)s and %(tenant_id)s are the project's id.",
    ),
    cfg.StrOpt(
        "swift_store_endpoint_type",
        default="publicURL",
        choices=["publicURL", "adminURL", "internalURL"],
        help="Which of the addresses in Keystone's catalogue is used.",
    ),
    cfg.StrOpt(
        "swift_store_service_type",
        default="object-store",
        help="How Swift is called in Keystone's catalogue.",
    ),
    cfg.StrOpt(
        "swift_store_region",
        help="Which region's Swift is used, where the catalogue has several.",
    ),
    cfg.BoolOpt(
        "swift_enable_snet",
        default=False,
        help="Put snet- before the host of the account's URL: the provider's inner network.",
    ),
)

_HOW = (
    cfg.IntOpt(
        "swift_store_large_object_size",
        default=5120,
        min=1,
        help="Images of so many MB (1,024,000 bytes) and more are sent in segments; so are "
        "those of more than 32 MiB, which are not kept in memory.",
    ),
    cfg.IntOpt(
        "swift_store_large_object_chunk_size",
        default=200,
        min=1,
        help="How long segments are at the most, MB (1,024,000 bytes). The first ones have "
        "32 MiB, so that several are on their way at once; only where Swift's 1,000 segments "
        "would not do they grow beyond.",
    ),
    cfg.IntOpt(
        "swift_store_retry_get_count",
        default=0,
        min=0,
        help="How many more times a request is tried again than storefs does by itself.",
    ),
    cfg.BoolOpt(
        "swift_buffer_on_upload",
        default=False,
        help="Accepted as in Glance. Segments are kept in memory until they are stored.",
    ),
    cfg.StrOpt(
        "swift_upload_buffer_dir",
        help="Accepted as in Glance.",
    ),
    cfg.BoolOpt(
        "swift_store_auth_insecure",
        default=False,
        help="Trust every certificate, of Keystone and of Swift.",
    ),
    cfg.StrOpt(
        "swift_store_cacert",
        help="A file with the certificates of the authorities that are trusted, in PEM, "
        "instead of the system's.",
    ),
    cfg.BoolOpt(
        "swift_store_ssl_compression",
        default=True,
        help="Accepted as in Glance. TLS is not compressed any more.",
    ),
    cfg.FloatOpt(
        "swift_store_connect_timeout",
        default=10.0,
        min=0.001,
        help="How many seconds a server may take to accept a connection, and to take 256 KiB "
        "of what is sent.",
    ),
    cfg.FloatOpt(
        "swift_store_read_timeout",
        default=60.0,
        min=0.001,
        help="How many seconds may pass without data; a server that sends less than 16 KiB "
        "in this time counts as one that sends nothing.",
    ),
    cfg.IntOpt(
        "swift_store_read_connections",
        default=3,
        min=1,
        max=64,
        help="How many pieces of one open image are fetched at once.",
    ),
    cfg.IntOpt(
        "swift_store_write_connections",
        default=4,
        min=1,
        max=64,
        help="How many segments of one image are sent at once.",
    ),
)

OPTIONS = (*_WHO, *_WHERE, *_HOW)
