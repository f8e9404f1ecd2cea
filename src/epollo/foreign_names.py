"""What people know from other servers and load testers, and what epollo has instead.

For a server these are the options of uvicorn, gunicorn, hypercorn and nginx; for a load test those
of wrk, hey, k6, fortio, ab and redis-benchmark. Imported only after an unknown name was found.

A text that begins with an option is what to write. Options are in braces: ``{bind HOST:PORT}``
becomes ``--bind HOST:PORT`` on the command line, and ``bind=HOST:PORT`` in Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_HTTP = "epollo speaks framed messages, not HTTP"
_ONE_ADDRESS = "host and port are one address; write {bind HOST:PORT}"
_NO_DAEMON = "a server stays in the foreground; let systemd or another supervisor run it"
_RELOAD = "only the command has it: epollo serve APP --reload"
_APP = "not there; name the application as module:attribute"

_SERVER = {
    "host port p H ip address listen l interface-address": _ONE_ADDRESS,
    "uds unix-socket socket sock": "{bind unix:PATH}",
    "fd file-descriptor": "{bind fd://N}",
    "w processes worker nproc": "{workers N}",
    "reload reload-dir auto-reload autoreload watch": _RELOAD,
    "reload-include reload-exclude reload-delay": (
        "not there; --reload-dir DIR, once for each, says what is watched"
    ),
    "chdir C pythonpath wd": "{app_dir DIR}",
    "app a application module": _APP,
    "env dotenv e": "{env_file FILE}",
    "c conf config-file settings": "{config FILE}",
    "daemon D daemonize background": _NO_DAEMON,
    "pid pidfile": "{pid_file FILE}",
    "u uid run-as": "{user NAME}",
    "g gid": "{group NAME}",
    "m umask": "not there; {socket_mode MODE} is for a Unix socket",
    "proc-name n name title": "{process_name TEXT}",
    "logfile error-logfile error-log errorlog": "{log_file FILE}",
    "logger-class log-config-json log-config-dict logging": "{log_config FILE}",
    "access-logfile accesslog": "{access_log FILE}",
    "no-access-log": "not needed; there is no access log without {access_log FILE}",
    "access-log-format": "not there; {log_format json} has every field",
    "log-json json-logs": "{log_format json}",
    "use-colors no-use-colors color": "the log has no colours",
    "verbose v debug": "{log_level debug}",
    "quiet q silent": "{log_level warning}",
    "timeout t": (
        "say which: {idle_timeout}, {frame_timeout}, {write_timeout}, {handler_timeout}, "
        "{worker_timeout} or {graceful_timeout}"
    ),
    "timeout-keep-alive keep-alive-timeout read-timeout idle inactivity-timeout": (
        "{idle_timeout TIME}"
    ),
    "keep-alive keepalive-timeout tcp-keepalive keepalive-interval": "{keepalive TIME}",
    "send-timeout": "{write_timeout TIME}",
    "memory-limit memory max-rss": "{max_memory SIZE}, which limits what connections hold",
    "shutdown-delay pre-stop lame-duck": "{drain_delay TIME}",
    "timeout-graceful-shutdown shutdown-timeout grace drain-timeout": "{graceful_timeout TIME}",
    "timeout-worker-healthcheck healthcheck": "{worker_timeout TIME}",
    "preload preload-app": "not there; each worker imports the application, so that a reload can",
    "ssl-handshake-timeout handshake-timeout": "{tls_timeout TIME}",
    "limit-concurrency connections worker-connections concurrency max-clients maxclients": (
        "{max_connections N}"
    ),
    "max-connections-per-ip limit-conn per-ip": "{max_per_ip N}",
    "limit-max-requests max-requests max-requests-jitter": (
        "{max_worker_messages N}, with jitter; {max_worker_age} and {max_worker_memory} are others"
    ),
    "rate limit-rate rate-limit limit-req max-rate": (
        "{max_message_rate RATE} limits messages, {max_connect_rate_per_ip RATE} connections"
    ),
    "max-message-size max-size max-body-size max-length limit max-message buffer-size": (
        "{max_frame SIZE}"
    ),
    "send-buffer write-limit write-buffer max-queue": "{max_unsent SIZE}",
    "ssl-certfile certfile cert certificate ssl-cert tls-certfile": "{tls_cert FILE}",
    "ssl-keyfile keyfile key ssl-key tls-keyfile": "{tls_key FILE}",
    "ssl-ca-certs ca-certs ca cacert ssl-ca client-ca tls-ca-certs": "{tls_ca FILE}",
    "ssl https tls-on use-ssl": "{tls_cert FILE}, which serves TLS",
    "ssl-keyfile-password keyfile-password key-password": (
        "{tls_key_password_file FILE}, whose first line is the password"
    ),
    "ssl-version tls-version min-tls-version ssl-min-version": "{tls_min_version 1.3}",
    "ssl-ciphers ciphers": "{tls_ciphers LIST}",
    "ssl-cert-reqs cert-reqs client-auth verify-client": (
        "{tls_ca FILE}; with {tls_client_certs optional}, a client may have no certificate"
    ),
    "crl crl-file ssl-crl": "{tls_crl FILE}",
    "alpn alpn-protocols": "{tls_alpn NAME}",
    "sni": "{tls_cert FILE} and {tls_key FILE} once for each name",
    "proxy proxy-headers forwarded-allow-ips proxy-allow-from proxy-allow-ips": (
        "{proxy_protocol required}, which reads a PROXY header; " + _HTTP
    ),
    "http ws lifespan interface root-path header date-header server-header wsgi asgi": _HTTP,
    "worker-class k async asyncio asgi-app": (
        "not there; an async def handler runs on asyncio or uvloop"
    ),
    "uvloop event-loop": "{loop uvloop}",
    "thread T": "{threads N}",
    "protocol codec delimiter format": "{framing SPEC}",
    "stats prometheus statsd-host metrics-address metrics-port": "{metrics ADDRESS}",
    "control-socket admin-socket ctl admin stats-socket": "{control PATH}",
    "listen-backlog somaxconn": "{backlog N}",
    "max-in-flight pipeline depth": "{in_flight N}",
    "unordered no-ordered": "{ordered no}",
    "reuse-port reuseport so-reuseport": (
        "each of {workers N} has a socket of its own on the same address (SO_REUSEPORT)"
    ),
    "least-connections leastconn load-balance balancing": "{balance exact}",
    "broker access": "not there yet",
}

_BENCH = {
    "host port p h url u target bind b": (
        "ADDRESS is an argument: HOST:PORT, [IPv6]:PORT or unix:PATH"
    ),
    "concurrency clients client vus users k6 conns connection-count parallel j": "{connections N}",
    "requests request iterations i number count num-requests messages-count": "{messages N}",
    "time z run-time runtime seconds length test-time": "{duration TIME}",
    "threads t workers w cpus": (
        "{processes N} for the tester's processes, or {duration TIME} for a length of time"
    ),
    "latency L percentiles histogram latencies": (
        "the report always shows percentiles; {hlog FILE} writes them all"
    ),
    "qps rps throughput target-rate request-rate": "{rate RATE}",
    "max-rate max-qps": "{find_rate LIMIT}",
    "pipeline P pipelining in-flight max-outstanding outstanding": "{depth N}",
    "data-size datasize message-size payload-size bytes length-bytes": "{size SIZE}",
    "data body m message": "{payload FILE}, or {template TEXT}",
    "script lua S": "{template TEXT} to make messages, {expect module:function} to check replies",
    "ramp-up rampup ramp stages stage": (
        "a ramp is a rate: {rate 1k..10k/10s}; {connection_rate N} slows the connects"
    ),
    "warm-up warmup-time warmup-duration": "{warmup TIME}",
    "insecure k no-verify skip-verify no-check-certificate": "{tls_ca any}",
    "cacert ca ca-file cafile": "{tls_ca FILE}",
    "cert certificate E": "{tls_cert FILE}",
    "key keyfile": "{tls_key FILE}",
    "sni servername": "{server_name NAME}",
    "alpn": "{tls_alpn NAME,...}",
    "tls-version ssl-version tlsv1.3": "{tls_min_version 1.3}",
    "ssl https": "{tls}",
    "output o out summary-export export outfile": "{json FILE}",
    "format g report": "{json}, {csv}, {html} or {plot FILE}",
    "threshold thresholds assert fail max-errors": "{fail_if LIMIT}",
    "keepalive keep-alive": "connections stay open; {reconnect_every N} replaces them",
    "no-keepalive disable-keepalive reconnect": "{reconnect_every 1}",
    "header H method http2 compressed user-agent a": _HTTP,
    "max-frame": "not needed: frames may be as large as the messages",
    "connect-timeout read-timeout": "{timeout TIME}",
    "delay pause interval think-time": "{think TIME}",
    "source-ip local-address interface": "{source ADDR,...}",
    "proxy proxy-protocol": "{proxy_header v1}",
    "log-level verbose v debug": "not there; the report goes to stdout, errors to stderr",
    "silent no-progress": "{quiet}",
    "prometheus stats statsd-host monitor": "{metrics ADDRESS}",
    "precision confidence ci tolerance relative-error": "{until GOAL}, such as 'p99±5%'",
    "cluster": "not there yet",
    "protocol codec": "{framing SPEC}",
    "distribution": "{arrival poisson}",
    "conf config-file settings scenario": "{config FILE}",
    "echo no-check": "{expect echo}, or any",
}

_REPORT = {
    "json csv format": "not there; RESULT is JSON already; {html FILE} or {plot FILE}",
    "output o out": "{html FILE}",
    "compare diff baseline base": "name both files: epollo report BEFORE AFTER",
    "force any-load ignore-load": "{different_load}",
    "threshold thresholds assert": "{fail_if LIMIT}",
}

_LAB = {
    "duration d": "{time} or {seconds TIME}, as the experiment has it",
    "backlog": "{queues N,N,...}",
    "n": "{rounds N}",
}

_TABLES = {"serve": _SERVER, "bench": _BENCH, "report": _REPORT, "lab": _LAB}

COMMANDS = {
    "serve": "server run start listen up echo web uvicorn gunicorn daemon",
    "bench": "benchmark load test loadtest load-test attack wrk hey k6 perf stress client connect",
    "report": "compare diff show results",
    "lab": "experiment experiments pollers backlog peers",
    "ctl": "control admin manage kill ps status clients",
    "top": "monitor watch htop stat stats",
    "--help": "help usage",
    "--version": "version",
    "man": "manual manpage",
    "completion": "complete completions autocomplete",
}
"""Each command, and what people type instead of it."""

_OF_CTL = {
    "drain --all": "stop shutdown quit exit kill terminate halt",
    "reload": "restart refresh replace",
    "status": "stats stat info show ping health metrics version",
    "connections": "clients list peers sessions",
    "workers": "processes ps",
    "close": "disconnect kick drop",
    "add": "scale-up grow up incr",
    "remove": "scale-down shrink down decr",
    "log-level": "loglevel verbosity log debug",
}

_OPTION = re.compile(r"\{(\w+) ?([^}]*)\}")


def advice(table: str, name: str, show: Callable[[str, str], str]) -> str:
    """What to write instead of the option ``name`` (without dashes); empty if nothing is known.
    ``table`` is a command, ``show`` makes an option of a name and a value, which may be empty."""
    plain = name if len(name) == 1 else name.replace("_", "-").lower()
    for names, text in _TABLES.get(table, {}).items():
        if plain in names.split():
            write = "write " if text.startswith("{") else ""
            return write + _OPTION.sub(lambda match: show(match[1], match[2]), text)
    return ""


def command_for(name: str) -> str:
    """The command that somebody means with ``name``; empty if nothing is known."""
    return _meant(COMMANDS, name)


def command_of_ctl_for(name: str) -> str:
    """The same, of ``epollo ctl``; the command may have an option."""
    return _meant(_OF_CTL, name)


def _meant(commands: dict[str, str], name: str) -> str:
    typed = name.lower().lstrip("-")
    return next((known for known, names in commands.items() if typed in names.split()), "")
