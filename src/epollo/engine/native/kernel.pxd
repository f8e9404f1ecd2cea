"""The system calls that each message, or each connection, takes."""

from libc.stdint cimport uint32_t
from posix.uio cimport iovec

cdef extern from *:
    """
    #include <dlfcn.h>
    #include <sys/epoll.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <unistd.h>

    static ssize_t (*kernel_recv)(int, void *, size_t, int) = recv;
    static ssize_t (*kernel_send)(int, const void *, size_t, int) = send;
    static ssize_t (*kernel_sendmsg)(int, const struct msghdr *, int) = sendmsg;
    static ssize_t (*kernel_readv)(int, const struct iovec *, int) = readv;
    static int (*kernel_accept4)(int, struct sockaddr *, socklen_t *, int) = accept4;
    static int (*kernel_epoll_wait)(int, struct epoll_event *, int, int) = epoll_wait;

    #if defined(__LP64__) && defined(SYS_recvfrom) && defined(SYS_sendto) && defined(SYS_sendmsg) \
        && defined(SYS_readv) && defined(SYS_accept4) && defined(SYS_epoll_pwait)
    static ssize_t direct_recv(int fd, void *data, size_t size, int flags) {
        return syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
    }
    static ssize_t direct_send(int fd, const void *data, size_t size, int flags) {
        return syscall(SYS_sendto, fd, data, size, flags, NULL, 0L);
    }
    static ssize_t direct_sendmsg(int fd, const struct msghdr *message, int flags) {
        return syscall(SYS_sendmsg, fd, message, flags);
    }
    static ssize_t direct_readv(int fd, const struct iovec *vectors, int count) {
        return syscall(SYS_readv, fd, vectors, count);
    }
    static int direct_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) {
        return (int) syscall(SYS_accept4, fd, address, size, flags);
    }
    static int direct_epoll_wait(int epoll, struct epoll_event *events, int most, int wait) {
        return (int) syscall(SYS_epoll_pwait, epoll, events, most, wait, NULL, 0L);
    }

    // A thread may be cancelled in the C library's functions, which takes 45 instructions a call as
    // soon as there are two threads, as with the watch of slow handlers; in syscall(2), none. But
    // a library that stands in for one of them, such as one that is preloaded, is asked.
    __attribute__((constructor)) static void kernel_choose(void) {
        void *const theirs[] = {
            (void *) recv, (void *) send, (void *) sendmsg, (void *) readv, (void *) accept4,
            (void *) epoll_wait,
        };
        Dl_info library, each;
        size_t i;
        if (!dladdr((void *) syscall, &library)) return;
        for (i = 0; i < sizeof theirs / sizeof *theirs; i++)
            if (!dladdr(theirs[i], &each) || each.dli_fbase != library.dli_fbase) return;
        kernel_recv = direct_recv;
        kernel_send = direct_send;
        kernel_sendmsg = direct_sendmsg;
        kernel_readv = direct_readv;
        kernel_accept4 = direct_accept4;
        kernel_epoll_wait = direct_epoll_wait;
    }
    #endif
    """

cdef extern from "<sys/socket.h>" nogil:
    int MSG_NOSIGNAL, SOCK_NONBLOCK, SOCK_CLOEXEC
    struct msghdr:  # the rest, which a C library may pad, is to be zeros
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t recv "kernel_recv"(int fd, void *data, size_t size, int flags)
    ssize_t send "kernel_send"(int fd, const void *data, size_t size, int flags)
    ssize_t sendmsg "kernel_sendmsg"(int fd, const msghdr *message, int flags)
    ssize_t readv "kernel_readv"(int fd, const iovec *vectors, int count)
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    int accept4 "kernel_accept4"(int fd, sockaddr *address, socklen_t *size, int flags)

cdef extern from "<sys/epoll.h>" nogil:
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    union epoll_data:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait "kernel_epoll_wait"(int epoll, epoll_event *events, int most, int milliseconds)
