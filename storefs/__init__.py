# SPDX-License-Identifier: Apache-2.0
"""Every Glance-style image store as a directory, and the library below it."""

__version__ = "0.1.0"
