"""Settings with a wrong name, and with a wrong type."""

import epollo
import epollo.testing

epollo.serve(bytes.upper, max_fram=65536)  # wrong
epollo.Server(bytes.upper, idle_timout="10s")  # wrong
epollo.Settings(frame_size=1)  # wrong
epollo.testing.connect(bytes.upper, hi_water=1)  # wrong

epollo.serve(bytes.upper, max_frame=b"64KiB")  # wrong
epollo.serve(bytes.upper, backlog=1.5)  # wrong
epollo.Server(bytes.upper, idle_timeout=None)  # wrong
epollo.Server(bytes.upper, tls="cert.pem")  # wrong
epollo.Server(bytes.upper, 8091)  # wrong
epollo.Server(bytes.upper, settings={"max_frame": 1})  # wrong
epollo.Settings(framing=4)  # wrong
epollo.testing.connect(bytes.upper, max_frame=[1])  # wrong
