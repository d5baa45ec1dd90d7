# SPDX-License-Identifier: Apache-2.0
"""What can be said about a store in Cinder: Glance's options, and a few of our own."""

from oslo_config import cfg

OPTIONS = (
    cfg.StrOpt(
        "cinder_catalog_info",
        default="volumev3::publicURL",
        help="How Cinder is found in Keystone's catalogue: type:name:interface, where the name "
        "may be left out.",
    ),
    cfg.StrOpt(
        "cinder_endpoint_template",
        help="Where Cinder is, if the catalogue is not to be asked, as "
        "https://host:8776/v3/%(tenant)s; the project's id takes the place of %(tenant)s.",
    ),
    cfg.StrOpt(
        "cinder_os_region_name",
        help="The region in which Cinder is looked for in the catalogue. Default: any.",
    ),
    cfg.StrOpt(
        "cinder_ca_certificates_file",
        help="A file with the certificates of the authorities that are trusted, in PEM, "
        "instead of the system's.",
    ),
    cfg.BoolOpt(
        "cinder_api_insecure",
        default=False,
        help="Do not verify the certificates of Cinder and Keystone.",
    ),
    cfg.IntOpt(
        "cinder_http_retries",
        default=3,
        min=0,
        help="How often a request is sent again for which there was no connection.",
    ),
    cfg.FloatOpt(
        "cinder_api_timeout",
        default=60.0,
        min=0.001,
        help="How many seconds Cinder and Keystone may take to accept a connection, and to answer.",
    ),
    cfg.IntOpt(
        "cinder_state_transition_timeout",
        default=300,
        min=1,
        help="How many seconds a volume may take to be made, extended, detached or deleted.",
    ),
    cfg.FloatOpt(
        "cinder_device_timeout",
        default=60.0,
        min=0.1,
        help="How many seconds Ceph may take to connect, and for one read or write of an "
        "attached volume. Block devices and NFS have time-outs of their own.",
    ),
    cfg.FloatOpt(
        "cinder_detach_grace",
        default=10.0,
        min=0.0,
        help="How many seconds an image's volume stays attached after the last reader closed "
        "it: the next one does not pay for another attachment. Without multiattach nobody "
        "else can attach it meanwhile.",
    ),
    cfg.IntOpt(
        "cinder_attachment_retry_attempts",
        default=5,
        min=1,
        help="How often it is tried to attach a volume that is attached elsewhere.",
    ),
    cfg.StrOpt(
        "cinder_store_auth_address",
        help="Keystone's URL. Together with the user, the password and the project (or with an "
        "application credential) it names the account that owns the images' volumes; without "
        "all of these each caller's own account does, which a mount does not have.",
    ),
    cfg.StrOpt("cinder_store_user_name", help="The user of the account."),
    cfg.StrOpt(
        "cinder_store_password", secret=True, help="What belongs to cinder_store_user_name."
    ),
    cfg.StrOpt("cinder_store_project_name", help="The project that owns the images' volumes."),
    cfg.StrOpt(
        "cinder_store_user_domain_name",
        default="Default",
        help="The domain of cinder_store_user_name.",
    ),
    cfg.StrOpt(
        "cinder_store_project_domain_name",
        default="Default",
        help="The domain of cinder_store_project_name.",
    ),
    cfg.StrOpt(
        "cinder_store_application_credential_id",
        help="The id of an application credential, in place of user, password and project.",
    ),
    cfg.StrOpt(
        "cinder_store_application_credential_secret",
        secret=True,
        help="What belongs to cinder_store_application_credential_id.",
    ),
    cfg.StrOpt(
        "cinder_volume_type",
        help="The type of the volumes images are added as. Default: Cinder's. A multiattach "
        "one lets several hosts read an image at once.",
    ),
    cfg.BoolOpt(
        "cinder_do_extend_attached",
        default=False,
        help="Extend volumes while they are attached, when an image of unknown size outgrows "
        "its own. RBD can; NFS cannot. Otherwise the volume is detached each time.",
    ),
    cfg.BoolOpt(
        "cinder_use_multipath",
        default=False,
        help="Use all paths to a volume that has several.",
    ),
    cfg.BoolOpt(
        "cinder_enforce_multipath",
        default=False,
        help="With cinder_use_multipath: attach nothing while multipathd does not run.",
    ),
    cfg.StrOpt(
        "cinder_mount_point_base",
        default="/var/lib/glance/mnt",
        help="The directory below which NFS shares with volumes are mounted.",
    ),
    cfg.StrOpt(
        "rootwrap_config",
        default="/etc/glance/rootwrap.conf",
        help="The configuration of glance-rootwrap, by which a storefs that is not root "
        "attaches block devices and mounts NFS shares. RBD needs no root.",
    ),
    cfg.StrOpt(
        "cinder_rbd_keyring",
        help="A file with the key of the Ceph user Cinder names for its volumes. Default: "
        "/etc/ceph/<cluster>.client.<user>.keyring.",
    ),
)
