"""Addresses to listen on and connect to, and the sockets made of them."""

from epollo.address.brokers import BrokerAddress, hide_passwords, parse_broker
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
from epollo.address.forms import (
    Address,
    certificate_name,
    host_of,
    of,
    parse,
    parse_all,
    peer_name,
)
from epollo.address.inherited import activated
from epollo.address.listening import Bound, Options, adopt, listen, listen_all, listen_beside
from epollo.address.resolving import no_delay, resolve
from epollo.address.socket_files import SocketFile

__all__ = [
    "FORMS",
    "Address",
    "Bound",
    "BrokerAddress",
    "Options",
    "SocketFile",
    "activated",
    "adopt",
    "bind_source",
    "certificate_name",
    "check_connectable",
    "close_with_reset",
    "connect",
    "connect_error",
    "find_dead_peer",
    "hide_passwords",
    "host_of",
    "listen",
    "listen_all",
    "listen_beside",
    "no_delay",
    "of",
    "parse",
    "parse_all",
    "parse_broker",
    "peer_name",
    "refused_as_self_connected",
    "resolve",
    "self_connect_error",
    "start_connect",
    "time_share",
]
