"""Whom an address stands for, wherever something is counted by address."""

from __future__ import annotations

import ipaddress


def network_of(address: str) -> str:
    """What one address counts as: with the newer internet protocol a household has many, a /64 network of them."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address
