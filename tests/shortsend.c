/* Preloaded into a server, makes its sends short: SHORT_SEND bytes at most (0: no bound), and
 * every EAGAIN_EVERYth refused (0: none). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

typedef ssize_t (*send_function)(int, const void *, size_t, int);

static size_t number(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : strtoul(text, NULL, 10);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    static send_function real;
    static size_t most, every, calls;

    if (real == NULL) {
        real = (send_function)dlsym(RTLD_NEXT, "send");
        most = number("SHORT_SEND");
        every = number("EAGAIN_EVERY");
    }
    if (every != 0 && ++calls % every == 0) {
        errno = EAGAIN;
        return -1;
    }
    return real(fd, data, most != 0 && size > most ? most : size, flags);
}
