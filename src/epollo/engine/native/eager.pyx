"""The first step of a coroutine: `PyIter_Send` returns its result without a StopIteration."""

from cython import binding
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from epollo.engine.native.endpoint cimport Endpoint

from asyncio.tasks import _enter_task, _leave_task

cdef extern from "Python.h":
    int PYGEN_RETURN
    int PyIter_Send(object work, object value, PyObject **result) except -1
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

cdef object enter_task = _enter_task
cdef object leave_task = _leave_task


cdef class EagerRunner:
    """Calls an async handler, and takes the first step of its coroutine at once."""

    cdef object _loop, _receive, _callbacks
    cdef bint _wants_connection
    cdef object _task  # of the parked task; None if there is none
    cdef object _context
    cdef object _clean_context  # a copy of it from before any coroutine ran in it
    cdef object _is_resumed
    cdef object _cancelling

    def __init__(self, loop, receive, bint wants_connection, callbacks):
        self._loop = loop
        self._receive = receive
        self._wants_connection = wants_connection
        self._callbacks = callbacks

    @binding(False)  # a plain method descriptor, which a vectorcall reaches directly
    def received(self, message, Endpoint connection):
        """Call the handler; returns its reply if it ends in its first step."""
        if self._wants_connection:
            return self._start(self._receive(message, connection), connection, 1)
        return self._start(self._receive(message), connection, 1)

    def start(self, work, Endpoint connection, int weight):
        """Take the first step of ``work``; if it waits then, it takes ``weight`` places in flight.
        Returns its reply if it has ended."""
        return self._start(work, connection, weight)

    cdef object _start(self, object work, Endpoint connection, int weight):
        cdef bint waits
        if self._task is None or self._needs_replacement():
            self._use(self._callbacks.new_parked_task())
        task = self._task  # self._task may have changed when the step is over
        enter_task(self._loop, task)
        try:
            waits = False
            value = _first_step(work, self._context, &waits)
        except BaseException as error:
            return self._callbacks.reply_in_order(connection, None, error)
        finally:
            leave_task(self._loop, task)
        if waits:
            self._task = None
            return self._callbacks.resume(work, value, connection, weight)
        if connection.in_flight or not (type(value) is bytes or value is None):
            return self._callbacks.reply_in_order(connection, value)
        return value

    cdef bint _needs_replacement(self) except -1:
        return self._is_resumed() or self._cancelling() or self._context != self._clean_context

    cdef int _use(self, parked) except -1:
        self._task, self._context = parked.task, parked.context
        self._clean_context = parked.clean_context
        self._is_resumed, self._cancelling = parked.resumed.done, parked.task.cancelling
        return 0


cdef inline object _first_step(object work, object context, bint *waits):
    """What ``work`` returns or, if it ``waits``, what it waits for."""
    cdef PyObject *result = NULL
    PyContext_Enter(context)
    try:
        waits[0] = PyIter_Send(work, None, &result) != PYGEN_RETURN
    finally:
        PyContext_Exit(context)
    value = <object> result
    Py_DECREF(value)
    return value
