"""Addresses to listen on and connect to, and the sockets made of them."""

from epollo.address.dialing import (
    bind_source,
    check_connectable,
    close_with_reset,
    connect,
    connect_error,
    find_dead_peer,
    refused_as_self_connected,
    self_connect_error,
    start_connect,
    time_share,
)
from epollo.address.faults import FORMS
from epollo.address.forms import Address, certificate_name, host_of, of, parse, parse_all
from epollo.address.inherited import activated
from epollo.address.listening import listen, remove
from epollo.address.resolving import no_delay, resolve

__all__ = [
    "FORMS",
    "Address",
    "activated",
    "bind_source",
    "certificate_name",
    "check_connectable",
    "close_with_reset",
    "connect",
    "connect_error",
    "find_dead_peer",
    "host_of",
    "listen",
    "no_delay",
    "of",
    "parse",
    "parse_all",
    "refused_as_self_connected",
    "remove",
    "resolve",
    "self_connect_error",
    "start_connect",
    "time_share",
]
