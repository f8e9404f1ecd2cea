"""Which sockets of an SO_REUSEPORT group get new connections.

Without a program the kernel takes one by a hash of the addresses and ports. A classic BPF program
returns the index of the one to take (SO_ATTACH_REUSEPORT_CBPF, socket(7)). The index counts the
sockets in the order in which they began to listen; when one is closed, the last one takes its
place.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

_ATTACH_CBPF = 51  # SO_ATTACH_REUSEPORT_CBPF
_DETACH = 68  # SO_DETACH_REUSEPORT_BPF

# bpf(4), and linux/filter.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_MODULO = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM


def steer(member: socket.socket, indices: Sequence[int]) -> None:
    """New connections of the group of ``member`` go to the sockets at ``indices`` only, by chance.
    Raises OSError if the kernel cannot do this."""
    program = b"".join(struct.pack("=HBBI", *each) for each in _choose(indices))
    memory = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(memory))  # struct sock_fprog
    member.setsockopt(socket.SOL_SOCKET, _ATTACH_CBPF, pointer)


def steer_to_all(member: socket.socket) -> None:
    """The kernel's hash chooses among all sockets of the group of ``member``. Does nothing if it
    does so already. Raises OSError."""
    try:
        member.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
    except FileNotFoundError:
        pass


def _choose(indices: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """A random number modulo their count, and a return for each remainder."""
    program = [(_LOAD, 0, 0, _RANDOM), (_MODULO, 0, 0, len(indices))]
    for remainder, index in enumerate(indices):
        program += [(_JUMP_IF_EQUAL, 0, 1, remainder), (_RETURN, 0, 0, index)]
    return [*program, (_RETURN, 0, 0, indices[0])]
