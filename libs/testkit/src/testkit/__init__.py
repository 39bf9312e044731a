"""Tests only: virtual-time loop, factories, faults, a running system to test against."""
