/*
 * Holds idle connections to a framed echo server.
 *
 *     idle [HOST:]PORT
 *
 * Each line on stdin is a number of connections: so many are opened in all, each has one message of
 * 64 bytes echoed, which shows that the server has it, and the number is printed when they are
 * there. The end of stdin ends the program, with a reset of each connection, which leaves no
 * TIME_WAIT behind. Exit status: 0 done, 1 a connection failed, 2 the command line is wrong.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "address.h"
#include "connect.h"
#include "frame.h"
#include "request.h"

enum {
    SIZE = 64, /* bytes of payload */
    FRAME_SIZE = FRAME_HEADER + SIZE,
    BATCH = 64, /* well below any accept queue */
};

static struct sockaddr_in address;
static unsigned char *request;

static void allow_all_descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_and_send(size_t number)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    struct timeval timeout = {.tv_sec = CONNECT_SECONDS};
    int fd = connect_from_many(&address, number);
    if (fd < 0)
        err(EXIT_FAILURE, "connection %zu", number + 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    if (send(fd, request, FRAME_SIZE, MSG_NOSIGNAL) != FRAME_SIZE)
        err(EXIT_FAILURE, "send on connection %zu", number + 1);
    return fd;
}

static void await_echo(int fd)
{
    unsigned char reply[FRAME_SIZE];
    ssize_t received = recv(fd, reply, sizeof reply, MSG_WAITALL);
    if (received < 0)
        err(EXIT_FAILURE, "receive");
    if (received != FRAME_SIZE || memcmp(reply, request, FRAME_SIZE) != 0)
        errx(EXIT_FAILURE, "a reply differs from its request, or is cut");
}

/* Returns the number that are open. */
static size_t open_up_to(size_t open, size_t wanted)
{
    int batch[BATCH];
    while (open < wanted) {
        size_t count = wanted - open < BATCH ? wanted - open : BATCH;
        for (size_t i = 0; i < count; i++)
            batch[i] = open_and_send(open + i);
        for (size_t i = 0; i < count; i++)
            await_echo(batch[i]);
        open += count;
    }
    return open;
}

int main(int argc, char **argv)
{
    size_t open = 0, wanted;
    if (argc != 2)
        errx(2, "usage: idle [HOST:]PORT");
    address = address_parse(argv[1]);
    request = request_frames(1, SIZE);
    allow_all_descriptors();
    while (scanf("%zu", &wanted) == 1) {
        open = open_up_to(open, wanted);
        printf("%zu\n", open);
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}
