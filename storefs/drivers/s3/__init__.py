# SPDX-License-Identifier: Apache-2.0
"""Amazon S3, and what speaks its API."""

from storefs.drivers.s3.driver import S3Driver

__all__ = ["S3Driver"]
