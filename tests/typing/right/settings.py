"""Settings as text and as values, by name and whole."""

from pathlib import Path

import epollo
import epollo.testing
from epollo import framing

epollo.Server(
    max_frame="64KiB", graceful_timeout="250ms", threads="2", in_flight="1k", ordered="no"
)
epollo.Server(max_frame=65536, graceful_timeout=0.25, threads=2, in_flight=1000, ordered=False)
epollo.Server(backlog=10, keepalive=60, idle_timeout="10m", max_connections="none", threads=2)
epollo.Server(bind="unix:socket", framing=framing.parse("line"), socket_mode=0o660, tls=None)
epollo.Server(bytes.upper, ["127.0.0.1:0", "[::1]:0"], name="upper", framing="line")
epollo.testing.connect(bytes.upper, "line", max_frame="64KiB")

whole = epollo.Settings(bind=("unix:socket",), max_frame="64KiB", socket_mode="660")
size: int = whole.max_frame
seconds: float = whole.graceful_timeout
epollo.Server(settings=whole)
epollo.Server(bytes.upper, "unix:other", settings=whole)


def serve(key: Path) -> None:
    epollo.serve(bytes.upper, framing="line", high_water="1MiB", tls_cert="c.pem", tls_key=key)
    epollo.serve(bytes.upper, "unix:other", name="upper", settings=whole)
