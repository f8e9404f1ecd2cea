/*
 * Connects to the server. A connect blocks, for at most CONNECT_SECONDS.
 */
#ifndef CONNECT_H
#define CONNECT_H

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    CONNECT_SECONDS = 5,
    CONNECT_SOURCES = 200,
};

static inline int connect_new_socket(void)
{
    struct timeval timeout = {.tv_sec = CONNECT_SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(EXIT_FAILURE, "socket");
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

/* Returns the connected socket, or -1. */
static inline int connect_finish(int fd, const struct sockaddr_in *address)
{
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    close(fd);
    return -1;
}

static inline int connect_socket(const struct sockaddr_in *address)
{
    return connect_finish(connect_new_socket(), address);
}

/*
 * The same from 127.0.0.2, .3, ... by the connection's number: one source address has some 28,000
 * ports, and those of connections that have ended stay taken for a time (TIME_WAIT). The port is
 * chosen by the connect and not by the bind, which would have to find one that is free to all
 * (ip(7), IP_BIND_ADDRESS_NO_PORT).
 */
static inline int connect_from_many(const struct sockaddr_in *address, uint64_t number)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number % CONNECT_SOURCES));
    int fd = connect_new_socket();
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
        err(EXIT_FAILURE, "bind");
    return connect_finish(fd, address);
}

#endif
