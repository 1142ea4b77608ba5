# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests run against: a Kubernetes API emulator."""
