"""tshark as an independent witness: what it decodes, and what it finds wrong."""

from .net import run

# Checksums that tshark does not verify unless told to. That of UDP over IPv6 may be zero in a tunnel (RFC 6935).
CHECKS = (
    "ip.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "tcp.check_checksum:TRUE",
    "udp.ignore_ipv6_zero_checksum:TRUE",
)
CHECKED = ("ip", "udp", "tcp", "icmp", "icmpv6", "gre")
BAD = " or ".join(
    ["_ws.malformed", "_ws.expert.severity == error", *(f"{layer}.checksum.status == 0" for layer in CHECKED)]
)


def tshark(file, *argv):
    """tshark on a capture file, checksums verified. Returns its lines."""
    options = [option for setting in CHECKS for option in ("-o", setting)]
    return run("tshark", "-n", "-r", file, *options, *argv).stdout.splitlines()


def faults(file):
    """What is wrong with a capture's frames: malformed, a bad checksum, a fault by the protocol. One line each."""
    return tshark(file, "-Y", BAD)


def decode(file, *fields, only=""):
    """Fields of each frame (that the display filter `only` lets through), such as "gre.key" or "ipv6.flow".

    A dict of lists for each frame: the values as tshark prints them, from the outermost layer inwards.
    """
    argv = ["-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=,"]
    argv += [option for field in fields for option in ("-e", field)]
    argv += ["-Y", only] if only else []
    rows = [line.split("\t") for line in tshark(file, *argv)]
    return [{field: value.split(",") if value else [] for field, value in zip(fields, row)} for row in rows]
