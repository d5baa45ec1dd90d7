# SPDX-License-Identifier: Apache-2.0
"""Directories of this host."""

from storefs.drivers.file.driver import FileDriver

__all__ = ["FileDriver"]
