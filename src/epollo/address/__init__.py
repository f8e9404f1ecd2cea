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
from epollo.address.forms import Address, host_of, of, parse, parse_all
from epollo.address.inherited import activated
from epollo.address.listening import listen, remove
from epollo.address.resolving import no_delay, resolve

__all__ = [
    "FORMS",
    "Address",
    "activated",
    "bind_source",
    "check_connectable",
    "connect",
    "connect_error",
    "host_of",
    "listen",
    "no_delay",
    "of",
    "parse",
    "parse_all",
    "remove",
    "resolve",
    "start_connect",
    "time_share",
]
