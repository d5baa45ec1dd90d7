# SPDX-License-Identifier: Apache-2.0
"""What can be said about a store in S3: Glance's options, and a few of our own."""

from oslo_config import cfg

_CHECKSUMS = [("when_supported", "always"), ("when_required", "only where S3 insists")]

OPTIONS = (
    cfg.StrOpt(
        "s3_store_host",
        help="Where the S3 server is, as host, host:port or URL; without a scheme http is "
        "meant. Required.",
    ),
    cfg.StrOpt(
        "s3_store_region_name",
        default="",
        help="The region requests are signed for. Default: the one in the name of Amazon's "
        "host, else us-east-1.",
    ),
    cfg.StrOpt(
        "s3_store_access_key",
        secret=True,
        help="The access key. Without it botocore looks for credentials as every program of "
        "AWS does (environment, profile, role); where there are none either, the bucket is "
        "read without, as anybody can read a public one.",
    ),
    cfg.StrOpt(
        "s3_store_secret_key",
        secret=True,
        help="The secret that belongs to s3_store_access_key.",
    ),
    cfg.StrOpt(
        "s3_store_bucket",
        help="The bucket the images are in. Required.",
    ),
    cfg.IntOpt(
        "s3_store_large_object_size",
        default=100,
        min=0,
        help="Images of this many MiB and more are sent in parts; so are those of which more "
        "than one part has come before the end is known. 0: all but empty ones.",
    ),
    cfg.IntOpt(
        "s3_store_large_object_chunk_size",
        default=10,
        min=5,
        max=5120,
        help="How long the parts are, MiB. They grow in long images, of which S3 takes no "
        "more than 10,000.",
    ),
    cfg.IntOpt(
        "s3_store_thread_pools",
        default=10,
        min=1,
        max=64,
        help="How many parts of one image are sent at once.",
    ),
    cfg.BoolOpt(
        "s3_store_create_bucket_on_put",
        default=False,
        help="Create the bucket when the first image is added.",
    ),
    cfg.StrOpt(
        "s3_store_bucket_url_format",
        default="auto",
        choices=[
            ("auto", "virtual at Amazon, path elsewhere"),
            ("virtual", "https://bucket.host/key"),
            ("path", "https://host/bucket/key"),
        ],
        help="How the bucket is named in requests.",
    ),
    cfg.StrOpt(
        "s3_store_cacert",
        default="",
        help="A file with the certificates of the authorities that are trusted, in PEM, "
        "instead of the system's.",
    ),
    cfg.BoolOpt(
        "s3_store_enable_data_integrity_protection",
        default=False,
        help="Let the two options after this one count. Many servers beside Amazon's refuse "
        "such checksums.",
    ),
    cfg.StrOpt(
        "s3_store_request_checksum_calculation",
        default="when_required",
        choices=_CHECKSUMS,
        help="When images are sent with a CRC32 the server compares.",
    ),
    cfg.StrOpt(
        "s3_store_response_checksum_validation",
        default="when_required",
        choices=_CHECKSUMS,
        help="Accepted as in Glance. Servers have checksums of whole objects only, and "
        "images are read in pieces.",
    ),
    cfg.FloatOpt(
        "s3_store_connect_timeout",
        default=10.0,
        min=0.001,
        help="How many seconds the server may take to accept a connection, and to take "
        "256 KiB of what is sent.",
    ),
    cfg.FloatOpt(
        "s3_store_read_timeout",
        default=60.0,
        min=0.001,
        help="How many seconds may pass without data; a server that sends less than 16 KiB "
        "in this time counts as one that sends nothing.",
    ),
    cfg.IntOpt(
        "s3_store_read_connections",
        default=3,
        min=1,
        max=64,
        help="How many pieces of one open image are fetched at once. More pay where the server is "
        "far away; where it is near they only take turns.",
    ),
)
