"""When a worker is replaced: it is old, has received many messages, or has grown."""

from __future__ import annotations

from epollo.plurals import counted
from epollo.settings import Settings
from epollo.units import format_seconds, format_size
from epollo.workers.worker import Worker


def reason_to_recycle(worker: Worker, settings: Settings) -> str:
    """Why ``worker`` is to be replaced; empty if it is not."""
    share = worker.limit_share
    if settings.max_worker_age and worker.age >= settings.max_worker_age * share:
        return f"is {format_seconds(worker.age)} old"
    most = settings.max_worker_messages
    if most and worker.messages >= most * share:
        return f"has received {counted(worker.messages, 'message')}"
    most = settings.max_worker_memory
    if most and worker.memory > most * share:
        return f"has {format_size(worker.memory)} of memory"
    return ""
