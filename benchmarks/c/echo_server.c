/*
 * The limit: a framed echo server in C, written for the purpose, on one level-triggered epoll loop.
 *
 *     echo_server [HOST:]PORT             port 0 takes any free one
 *     echo_server [HOST:]PORT in-place
 *
 * For each readiness event there is one recv into a buffer that all connections share, the frames
 * are cut, a handler is called for each by a pointer, as a server that knows no handler has to, its
 * reply is copied behind a header, and the replies leave in one send. A connection owns memory for
 * data only while a frame is incomplete or a reply unsent. SIGTERM and SIGINT end the program with
 * status 0.
 *
 * With `in-place` no handler is called: a read that begins with a frame is answered by the send of
 * its whole frames from where they are. No server of messages can be written so; it shows what the
 * call and the copy cost.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "buffer.h"
#include "frame.h"

enum {
    INPUT_SIZE = 256 << 10, /* bytes of one recv */
    MAX_EVENTS = 1024,
    BACKLOG = 2048,
};

struct connection {
    int fd;
    struct buffer partial; /* the incomplete frame, header first */
    struct buffer unsent;  /* replies that the kernel did not take... */
    size_t unsent_start;   /* ...from this byte on */
};

static int epoll;
static unsigned char input[INPUT_SIZE];
static struct buffer replies; /* of the connection being served */
static bool in_place;

struct message {
    const unsigned char *data;
    size_t length;
};

static struct message echo(struct message message)
{
    return message;
}

/* Volatile: the compiler must not know which function it is. */
static struct message (*volatile handler)(struct message) = echo;

static void watch(int operation, int fd, uint32_t interest, struct connection *connection)
{
    struct epoll_event event = {.events = interest, .data.ptr = connection};
    if (epoll_ctl(epoll, operation, fd, &event) < 0)
        err(EXIT_FAILURE, "epoll_ctl");
}

static void open_connection(int fd)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        err(EXIT_FAILURE, "connection");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    connection->fd = fd;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN, connection);
}

/* Safe within a batch of events: epoll_wait reports a descriptor once, and this was its turn. */
static void close_connection(struct connection *connection)
{
    close(connection->fd);
    buffer_free(&connection->partial);
    buffer_free(&connection->unsent);
    free(connection);
}

/* A peer that is gone before it is accepted leaves ECONNABORTED; it is no fault of ours. */
static void accept_connections(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            open_connection(fd);
        else if (errno == EAGAIN)
            return;
        else if (errno != ECONNABORTED && errno != EINTR)
            err(EXIT_FAILURE, "accept4");
    }
}

static void reply(const unsigned char *payload, size_t length)
{
    struct message message = {.data = payload, .length = length};
    message = handler(message);
    unsigned char *frame = buffer_extend(&replies, FRAME_HEADER + message.length);
    frame_write_header(frame, message.length);
    memcpy(frame + FRAME_HEADER, message.data, message.length);
}

/*
 * Adds input to the incomplete frame, up to `wanted` bytes of it in all. Returns the bytes used.
 */
static size_t fill_partial(struct buffer *partial, size_t wanted, const unsigned char *data,
                           size_t length)
{
    size_t missing = wanted > partial->length ? wanted - partial->length : 0;
    size_t used = missing < length ? missing : length;
    buffer_append(partial, data, used);
    return used;
}

/*
 * Adds input to the incomplete frame and replies to it once it is whole. Returns the bytes used,
 * or -1 if the frame is too large. The whole frame is reserved at once: the kernel gives pages
 * only as they are touched.
 */
static ssize_t continue_partial(struct buffer *partial, const unsigned char *data, size_t length)
{
    size_t used = fill_partial(partial, FRAME_HEADER, data, length);
    if (partial->length < FRAME_HEADER)
        return (ssize_t)used;
    size_t payload = frame_payload_length(partial->data);
    if (payload > FRAME_MAX_PAYLOAD)
        return -1;
    buffer_reserve(partial, FRAME_HEADER + payload);
    used += fill_partial(partial, FRAME_HEADER + payload, data + used, length - used);
    if (partial->length == FRAME_HEADER + payload) {
        reply(partial->data + FRAME_HEADER, payload);
        buffer_free(partial);
    }
    return (ssize_t)used;
}

/*
 * Replies to the whole frames at the start of `data`, unless the caller sends them as they are.
 * Returns the bytes of those frames.
 */
static size_t cut_whole_frames(const unsigned char *data, size_t length, bool as_they_are)
{
    size_t start = 0;
    while (length - start >= FRAME_HEADER) {
        size_t payload = frame_payload_length(data + start);
        if (length - start - FRAME_HEADER < payload)
            break;
        if (!as_they_are)
            reply(data + start + FRAME_HEADER, payload);
        start += FRAME_HEADER + payload;
    }
    return start;
}

/*
 * Cuts the input. Returns -1 if a frame is too large, else the bytes at the start of `data` that
 * are to be sent as they are: none if the replies are in `replies`.
 */
static ssize_t cut_frames(struct connection *connection, const unsigned char *data, size_t length)
{
    bool as_they_are = in_place && connection->partial.length == 0;
    size_t start = 0;
    if (connection->partial.length > 0) {
        ssize_t used = continue_partial(&connection->partial, data, length);
        if (used < 0)
            return -1;
        start = (size_t)used;
    }
    start += cut_whole_frames(data + start, length - start, as_they_are);
    if (start < length && continue_partial(&connection->partial, data + start, length - start) < 0)
        return -1;
    return as_they_are ? (ssize_t)start : 0;
}

/*
 * Returns the bytes that the kernel took, 0 if it has no room now, or -1 if the peer is gone.
 */
static ssize_t send_some(int fd, const unsigned char *data, size_t length)
{
    ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

/* Returns false if the peer is gone. */
static bool send_replies(struct connection *connection, const unsigned char *data, size_t length)
{
    if (length == 0)
        return true;
    ssize_t sent = send_some(connection->fd, data, length);
    if (sent < 0)
        return false;
    size_t left = length - (size_t)sent;
    if (left > 0) {
        buffer_append(&connection->unsent, data + sent, left);
        watch(EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
    }
    return true;
}

/* Returns false if the connection is over: end of stream, reset or a frame that is too large. */
static bool on_readable(struct connection *connection)
{
    ssize_t received = recv(connection->fd, input, sizeof input, 0);
    if (received < 0)
        return errno == EAGAIN || errno == EINTR;
    if (received == 0)
        return false;
    replies.length = 0;
    ssize_t as_they_are = cut_frames(connection, input, (size_t)received);
    if (as_they_are < 0)
        return false;
    return as_they_are > 0 ? send_replies(connection, input, (size_t)as_they_are)
                           : send_replies(connection, replies.data, replies.length);
}

/* Returns false if the peer is gone. */
static bool on_writable(struct connection *connection)
{
    struct buffer *unsent = &connection->unsent;
    ssize_t sent = send_some(connection->fd, unsent->data + connection->unsent_start,
                             unsent->length - connection->unsent_start);
    if (sent < 0)
        return false;
    connection->unsent_start += (size_t)sent;
    if (connection->unsent_start == unsent->length) {
        buffer_free(unsent);
        connection->unsent_start = 0;
        watch(EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
    }
    return true;
}

/*
 * While a reply is unsent the connection is not read, which bounds its memory and means that the
 * end of the stream is met only after the last reply has left. An error or a hang-up is met by the
 * recv or the send.
 */
static void serve_connection(struct connection *connection)
{
    bool writing = connection->unsent.length > 0;
    if (!(writing ? on_writable(connection) : on_readable(connection)))
        close_connection(connection);
}

static int listen_on(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        err(EXIT_FAILURE, "socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)address, size) < 0)
        err(EXIT_FAILURE, "bind");
    if (listen(listener, BACKLOG) < 0)
        err(EXIT_FAILURE, "listen");
    if (getsockname(listener, (struct sockaddr *)address, &size) < 0)
        err(EXIT_FAILURE, "getsockname");
    return listener;
}

/* The listener is the source without a connection. */
static void run(int listener)
{
    struct epoll_event events[MAX_EVENTS];
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    for (;;) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        if (ready < 0 && errno != EINTR)
            err(EXIT_FAILURE, "epoll_wait");
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == NULL)
                accept_connections(listener);
            else
                serve_connection(events[i].data.ptr);
        }
    }
}

/* The kernel takes back the sockets and the memory. */
static void stop(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
    char text[ADDRESS_TEXT];
    in_place = argc == 3 && strcmp(argv[2], "in-place") == 0;
    if (argc != 2 && !in_place)
        errx(2, "usage: echo_server [HOST:]PORT [in-place]");
    struct sockaddr_in address = address_parse(argv[1]);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        err(EXIT_FAILURE, "epoll_create1");
    int listener = listen_on(&address);
    printf("echo_server: serving on %s\n", address_format(&address, text));
    fflush(stdout);
    run(listener);
}
