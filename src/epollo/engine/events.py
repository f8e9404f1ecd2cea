"""What a descriptor can be ready for, in poll(2)'s numbers, which epoll(7) shares.

READ: there are bytes, or the end of the stream. WRITE: there is room to send. ERROR and HANGUP
are told whether asked for or not.

All pollers here are level-triggered: as long as there is something to read, or room to write,
every call says so again. So the loop may read once and move on to the next connection; what it
left in the socket is reported at the next turn, and no connection can keep the others waiting.

PEER_ENDED (EPOLLRDHUP) only tells the loop which events are likely to end a connection, since those
wait when there are many. It is not taken for the end itself: it comes as soon as the peer's FIN is
here, while bytes sent before the FIN may still be unread; to close then would lose those messages
and their replies. recv() returns b"" for the same FIN in its right place, behind the bytes.
"""

import select

READ = 0x001  # POLLIN, EPOLLIN
WRITE = 0x004  # POLLOUT, EPOLLOUT
ERROR = 0x008  # POLLERR, EPOLLERR
HANGUP = 0x010  # POLLHUP, EPOLLHUP
PEER_ENDED = getattr(select, "EPOLLRDHUP", 0)  # and POLLRDHUP; asked for together with READ
