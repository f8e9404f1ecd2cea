"""Addresses to listen on and connect to, and the sockets made of them."""

from epollo.address.dialing import (
    bind_source,
    check_connectable,
    connect,
    connect_error,
    start_connect,
    time_share,
)
from epollo.address.faults import FORMS
from epollo.address.forms import Address, host_of, of, parse, parse_all, peer_name
from epollo.address.inherited import activated
from epollo.address.listening import Options, listen, listen_all
from epollo.address.resolving import no_delay, resolve
from epollo.address.socket_files import SocketFile

__all__ = [
    "FORMS",
    "Address",
    "Options",
    "SocketFile",
    "activated",
    "bind_source",
    "check_connectable",
    "connect",
    "connect_error",
    "host_of",
    "listen",
    "listen_all",
    "no_delay",
    "of",
    "parse",
    "parse_all",
    "peer_name",
    "resolve",
    "start_connect",
    "time_share",
]
