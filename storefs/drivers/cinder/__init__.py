# SPDX-License-Identifier: Apache-2.0
"""Volumes of OpenStack's block storage."""

from storefs.drivers.cinder.driver import CinderDriver

__all__ = ["CinderDriver"]
