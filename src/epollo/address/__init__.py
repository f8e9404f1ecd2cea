"""Where to listen and whom to connect to: addresses, and the sockets made of them."""

from epollo.address.dialing import connect, start_connect
from epollo.address.forms import FORMS, Address, host_of, of, parse, parse_all
from epollo.address.inherited import activated
from epollo.address.listening import listen, remove

__all__ = [
    "FORMS",
    "Address",
    "activated",
    "connect",
    "host_of",
    "listen",
    "of",
    "parse",
    "parse_all",
    "remove",
    "start_connect",
]
