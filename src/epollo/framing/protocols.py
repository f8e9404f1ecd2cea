"""The names of protocols: the framing of each, and its specification.

A protocol is here if one framing serves a whole connection of it. ``docs/framing.md`` has the same
table.
"""

from __future__ import annotations

from typing import NamedTuple


class Protocol(NamedTuple):
    """The framing of a protocol, and its specification."""

    framing: str
    source: str


PROTOCOLS = {
    "dns": Protocol("u16", "DNS over TCP: RFC 1035, 4.2.2"),
    "kafka": Protocol("u32", "Apache Kafka protocol guide, Protocol Primitive Types"),
    "thrift": Protocol("u32", "Apache Thrift, framed transport"),
    "erlang1": Protocol("u8", "Erlang's gen_tcp, {packet, 1}"),
    "erlang2": Protocol("u16", "Erlang's gen_tcp, {packet, 2}"),
    "erlang4": Protocol("u32", "Erlang's gen_tcp, {packet, 4}"),
    "modbus": Protocol("length(offset=4,size=2)", "Modbus Messaging on TCP/IP 1.0b, 3.1.3"),
    "mongodb": Protocol(
        "length(size=4,adjust=-4,order=little)", "MongoDB Wire Protocol, Standard Message Header"
    ),
    "protobuf": Protocol("varint", "protobuf's writeDelimitedTo, serialize_length_prefixed"),
    "mqtt": Protocol("varint(offset=1,size=4)", "MQTT 3.1.1, 2.2.3; MQTT 5.0, 2.1.4"),
    "ldap": Protocol("ber", "LDAPv3: RFC 4511, 5.1"),
    "snmp": Protocol("ber", "SNMP over TCP: RFC 3430, 2.1"),
    "mllp": Protocol(
        r"delimiter(end=\x1c\r,start=\x0b)", "HL7 v2: Minimal Lower Layer Protocol, release 1"
    ),
    "lsp": Protocol("headers", "Language Server Protocol 3.17, Base Protocol"),
    "dap": Protocol("headers", "Debug Adapter Protocol, Base protocol"),
    "sip": Protocol("headers(alias=l)", "SIP over TCP: RFC 3261, 7.3.3 and 18.3"),
    "syslog": Protocol('digits(end=" ")', "syslog over TCP: RFC 6587, 3.4.1; RFC 5425, 4.3"),
    "gelf": Protocol(r"delimiter:\0", "Graylog Extended Log Format, GELF via TCP"),
    "nmea": Protocol("line(end=crlf)", "NMEA 0183, 5.3"),
    "irc": Protocol("line(end=crlf)", "RFC 1459, 2.3; RFC 2812, 2.3"),
    "graphite": Protocol("line", "Graphite, the plaintext protocol"),
    "statsd": Protocol("line", "statsd over TCP"),
    "netconf": Protocol("delimiter:]]>]]>", "NETCONF 1.0: RFC 6242, 4.3"),
    "smpp": Protocol("length(size=4,adjust=-4)", "SMPP 3.4, 3.2"),
    "tpkt": Protocol("length(offset=2,size=2,adjust=-4)", "ISO on TCP: RFC 1006, 6; S7, H.323"),
    "iec104": Protocol("length(offset=1,size=1)", "IEC 60870-5-104, 5"),
    "opcua": Protocol(
        "length(offset=4,size=4,adjust=-8,order=little)", "OPC UA TCP: OPC 10000-6, 7.1.2.2"
    ),
    "dicom": Protocol("length(offset=2,size=4)", "DICOM PS3.8, 9.3.1"),
    "diameter": Protocol("length(offset=1,size=3,adjust=-4)", "RFC 6733, 3"),
    "radius": Protocol(
        "length(offset=2,size=2,adjust=-4)", "RADIUS over TCP and TLS: RFC 6613, RFC 2865, 3"
    ),
    "tacacs": Protocol("length(offset=8,size=4)", "TACACS+: RFC 8907, 4.1"),
    "kerberos": Protocol("u32", "Kerberos over TCP: RFC 4120, 7.2.2"),
    "bgp": Protocol("length(offset=16,size=2,adjust=-18)", "BGP-4: RFC 4271, 4.1"),
    "bmp": Protocol("length(offset=1,size=4,adjust=-5)", "BGP Monitoring Protocol: RFC 7854, 4.1"),
    "pcep": Protocol(
        "length(offset=2,size=2,adjust=-4)", "Path Computation Element: RFC 5440, 6.1"
    ),
    "openflow": Protocol("length(offset=2,size=2,adjust=-4)", "OpenFlow Switch 1.3.5, 7.1"),
    "mysql": Protocol("length(size=3,adjust=1,order=little)", "MySQL Internals, Protocol::Packet"),
    "tds": Protocol("length(offset=2,size=2,adjust=-4)", "SQL Server: MS-TDS, 2.2.3.1"),
    "cassandra": Protocol("length(offset=5,size=4)", "CQL native protocol v3 and v4, 2"),
    "9p": Protocol("length(size=4,adjust=-4,order=little)", "Plan 9, intro(5)"),
    "smb": Protocol("length(offset=1,size=3)", "SMB over TCP: MS-SMB2, 2.1"),
    "zabbix": Protocol(
        "length(offset=5,size=4,adjust=4,order=little)", "Zabbix, Header and data length"
    ),
    "soupbintcp": Protocol("u16", "Nasdaq SoupBinTCP 4.1, 2.1"),
    "rsocket": Protocol("length(size=3,strip=3)", "RSocket protocol, Framing Format"),
    "dubbo": Protocol("length(offset=12,size=4)", "Apache Dubbo, dubbo protocol"),
    "minecraft": Protocol("varint(size=3)", "Minecraft: Java Edition, Packet format"),
    "enip": Protocol(
        "length(offset=2,size=2,adjust=20,order=little)", "EtherNet/IP: CIP volume 2, 2-3"
    ),
    "doip": Protocol("length(offset=4,size=4)", "Diagnostics over IP: ISO 13400-2"),
    "someip": Protocol("length(offset=4,size=4)", "AUTOSAR SOME/IP, 4.1.2"),
    "stun": Protocol("length(offset=2,size=2,adjust=16)", "STUN over TCP: RFC 8489, 5 and 6.2.2"),
    "redis": Protocol(
        "epollo.framing.named.redis:Redis", "Redis serialization protocol, RESP2 and 3"
    ),
    "nats": Protocol("epollo.framing.named.nats:Nats", "NATS client protocol"),
    "stomp": Protocol("epollo.framing.named.stomp:Stomp", "STOMP 1.0 to 1.2, STOMP Frames"),
    "fix": Protocol("epollo.framing.named.fix:Fix", "FIX tag=value: FIX 4.4, volume 2"),
    "websocket": Protocol(
        "epollo.framing.named.websocket:WebSocket", "WebSocket after its handshake: RFC 6455, 5.2"
    ),
    "msgpack": Protocol(
        "epollo.framing.named.msgpack:MessagePack", "MessagePack; msgpack-rpc; Fluent forward 1.5"
    ),
    "rtsp": Protocol("epollo.framing.named.rtsp:Rtsp", "RTSP: RFC 2326, 10.12; RFC 7826, 14"),
    "netconf11": Protocol("epollo.framing.named.netconf:Chunks", "NETCONF 1.1: RFC 6242, 4.2"),
    "pktline": Protocol("epollo.framing.named.pkt_line:PktLine", "git: gitprotocol-common"),
    "gt06": Protocol("epollo.framing.named.gt06:Gt06", "Concox GT06 trackers, protocol 1.8.1, 4"),
    "postgresql": Protocol(
        "epollo.framing.named.postgresql:PostgreSQL", "PostgreSQL, Message Formats, of a client"
    ),
    "amqp": Protocol("epollo.framing.named.amqp:Amqp", "AMQP 0-9-1, 4.2.2 and 4.2.3"),
}
"""Every name, in the order of the documentation."""
