"""Framings of protocols that have several kinds of frame: each is a `epollo.framing.Sized`.

They are imported when they are first named.
"""
