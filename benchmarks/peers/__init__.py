"""Framed u32 echo servers on other libraries, each as that library's own users would write it.

All of them call the Python function `handler.handle` once for each message. None of them limits the
length of a message or counts anything, which is in their favour.
"""
