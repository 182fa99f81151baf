"""What a process and its children listen on, compared with the table of the guide."""

import re
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import psutil

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"


def listening(process):
    """The name and address of each socket of a process and its children, of TCP and UDP."""
    root = psutil.Process(process.pid)
    found = []
    for each in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            name = each.name()
            sockets = each.net_connections("inet")
            found += [(name, socket.laddr.ip) for socket in sockets if not socket.raddr]
    return found


def reached_from_elsewhere(process):
    """The sockets that other machines reach, but for those of processes in the table."""
    return {
        (name, address)
        for name, address in listening(process)
        if not is_loopback(address) and name not in table_of_guide()
    }


def is_loopback(text):
    address = ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def table_of_guide():
    """The processes of which the guide says that all interfaces reach them."""
    rows = re.findall(r"^\| `(.+?)` \| all interfaces \|", GUIDE.read_text(), re.MULTILINE)
    assert rows
    return rows
