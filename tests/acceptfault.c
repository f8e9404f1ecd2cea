/* Preloaded into a server, makes its first ACCEPT_FAULTS accepts fail with the number ACCEPT_ERRNO.
 * With ECONNABORTED the connection is gone, as accept(2) has it; else it stays in the queue. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

typedef int (*accept_function)(int, struct sockaddr *, socklen_t *, int);

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    static accept_function real;
    static long faults;
    static int number;

    if (real == NULL) {
        real = (accept_function)dlsym(RTLD_NEXT, "accept4");
        faults = atol(getenv("ACCEPT_FAULTS"));
        number = atoi(getenv("ACCEPT_ERRNO"));
    }
    if (faults == 0)
        return real(fd, address, size, flags);
    if (number == ECONNABORTED) {
        int gone = real(fd, NULL, NULL, flags);
        if (gone < 0)
            return gone;
        close(gone);
    }
    faults--;
    errno = number;
    return -1;
}
