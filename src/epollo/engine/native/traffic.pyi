from epollo.engine import traffic

class Traffic(traffic.Traffic):
    """Messages and bytes, in and out."""
