# SPDX-License-Identifier: Apache-2.0
"""OpenStack Swift, and what speaks its API."""

from storefs.drivers.swift.driver import SwiftDriver

__all__ = ["SwiftDriver"]
