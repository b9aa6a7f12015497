"""The lab: network namespaces with real peers around one gateway.

Owns every namespace, process and file that a test starts, and takes them away again, also after a failure or Ctrl-C.
Refuses to run without root or without its tools: a test that cannot run has failed.
"""

from .net import Lab, LabError, Namespace
from .openvswitch import TaggedSwitch, TunnelSwitch
from .peers import Fabric, KernelVxlan, Router
from .vrrp import VrrpPair
from .weir import Weir, WeirFailure

__all__ = [
    "Fabric",
    "KernelVxlan",
    "Lab",
    "LabError",
    "Namespace",
    "Router",
    "TaggedSwitch",
    "TunnelSwitch",
    "VrrpPair",
    "Weir",
    "WeirFailure",
]
