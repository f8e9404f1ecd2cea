/*
 * A closed-loop load generator for framed echo servers, written for the purpose: one thread, epoll.
 *
 *     load [HOST:]PORT -c CONNECTIONS -d SECONDS --depth D -s SIZE [--warmup SECONDS]
 *
 * Every connection keeps D messages of SIZE bytes outstanding. Every byte that comes back, headers
 * included, is compared with what was sent. Messages whose reply arrives in the SECONDS after the
 * warm-up count; then no more are sent, and the replies still due are awaited and checked.
 *
 * Prints one line of JSON. Exit status: 0 done, 1 a connection failed, 2 the command line is wrong.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "histogram.h"
#include "options.h"

#define NS_PER_S UINT64_C(1000000000)
#define SILENCE_LIMIT (5 * NS_PER_S)

enum {
    INPUT_SIZE = 256 << 10,   /* bytes of one recv */
    REQUESTS_LIMIT = 1 << 30, /* bytes of D frames */
    MAX_EVENTS = 1024,
    TICK_MS = 100, /* how often silence is looked for */
};

/*
 * Messages queued and not yet taken by the kernel are the last ones of those outstanding, so
 * `unsent` alone tells where in the periodic stream of equal frames the next byte is.
 */
struct connection {
    int fd;
    bool writing;        /* EPOLLOUT is armed */
    uint64_t queued;     /* messages, from the start */
    uint64_t replied;    /* messages, from the start */
    size_t unsent;       /* bytes queued and not taken by the kernel */
    size_t partial;      /* bytes of the reply that is arriving */
    uint64_t *queued_at; /* ns, message i at i % depth */
};

static struct options options;
static size_t frame_size;       /* bytes, header included */
static unsigned char *requests; /* `depth` equal frames: what is sent, and what must come back */
static unsigned char input[INPUT_SIZE];
static struct connection *connections;
static int epoll;

static uint64_t window_start, window_end; /* ns */
static uint64_t last_reply;               /* ns */
static uint64_t outstanding;              /* messages, on all connections */
static unsigned errors;
static struct histogram latencies;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Only the first failure is told: the others are most often its echoes. */
static void count_error(const char *reason)
{
    if (errors++ == 0)
        warnx("%s", reason);
}

static void fail_connection(struct connection *connection, const char *reason)
{
    count_error(reason);
    close(connection->fd);
    connection->fd = -1;
    outstanding -= connection->queued - connection->replied;
}

static void watch(int operation, struct connection *connection, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = connection};
    if (epoll_ctl(epoll, operation, connection->fd, &event) < 0)
        err(EXIT_FAILURE, "epoll_ctl");
}

static void watch_writing(struct connection *connection, bool writing)
{
    if (connection->writing == writing)
        return;
    connection->writing = writing;
    watch(EPOLL_CTL_MOD, connection, writing ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void queue_messages(struct connection *connection, uint64_t count, uint64_t now)
{
    for (uint64_t i = 0; i < count; i++)
        connection->queued_at[connection->queued++ % options.depth] = now;
    connection->unsent += count * frame_size;
    outstanding += count;
}

static void send_queued(struct connection *connection)
{
    size_t sent_of_frame = (frame_size - connection->unsent % frame_size) % frame_size;
    ssize_t sent = send(connection->fd, requests + sent_of_frame, connection->unsent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        fail_connection(connection, strerror(errno));
        return;
    }
    connection->unsent -= sent > 0 ? (size_t)sent : 0;
    watch_writing(connection, connection->unsent > 0);
}

static void record_replies(struct connection *connection, uint64_t count, uint64_t now)
{
    bool in_window = now >= window_start && now < window_end;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t queued_at = connection->queued_at[connection->replied++ % options.depth];
        if (in_window)
            histogram_record(&latencies, now - queued_at);
    }
    outstanding -= count;
}

/*
 * Checks the first `length` bytes of input, counts the replies that they complete and queues as
 * many successors. Returns NULL, or what is wrong.
 */
static const char *take_input(struct connection *connection, size_t length)
{
    uint64_t due = (connection->queued - connection->replied) * frame_size;
    uint64_t now = now_ns();
    if (length + connection->partial + connection->unsent > due)
        return "received more than was sent";
    if (memcmp(input, requests + connection->partial, length) != 0)
        return "a reply differs from its request in length or payload";
    uint64_t replied = (connection->partial + length) / frame_size;
    connection->partial = (connection->partial + length) % frame_size;
    record_replies(connection, replied, now);
    if (now < window_end)
        queue_messages(connection, replied, now);
    last_reply = now;
    return NULL;
}

static void receive_replies(struct connection *connection)
{
    ssize_t received = recv(connection->fd, input, sizeof input, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    const char *fault = received < 0    ? strerror(errno)
                        : received == 0 ? "the server closed a connection"
                                        : take_input(connection, (size_t)received);
    if (fault != NULL)
        fail_connection(connection, fault);
}

static void serve_connection(struct connection *connection, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive_replies(connection);
    if (connection->fd >= 0 && connection->unsent > 0)
        send_queued(connection);
}

/* The timeout bounds the blocking connect as well. */
static int connect_socket(void)
{
    struct timeval timeout = {.tv_sec = SILENCE_LIMIT / NS_PER_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(EXIT_FAILURE, "socket");
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(fd, (struct sockaddr *)&options.address, sizeof options.address) == 0)
        return fd;
    close(fd);
    return -1;
}

static void open_connection(struct connection *connection)
{
    connection->fd = connect_socket();
    if (connection->fd < 0) {
        count_error("cannot connect");
        return;
    }
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    connection->queued_at = calloc(options.depth, sizeof *connection->queued_at);
    if (connection->queued_at == NULL)
        err(EXIT_FAILURE, "connection");
    watch(EPOLL_CTL_ADD, connection, EPOLLIN);
}

static void open_connections(void)
{
    connections = calloc(options.connections, sizeof *connections);
    if (connections == NULL)
        err(EXIT_FAILURE, "connections");
    for (size_t i = 0; i < options.connections; i++)
        open_connection(&connections[i]);
}

/* Memory for D frames whose payload has no short period, so that a shifted reply shows. */
static void make_requests(void)
{
    frame_size = FRAME_HEADER + options.size;
    if (options.depth > REQUESTS_LIMIT / frame_size)
        errx(2, "depth times size is over %d bytes", REQUESTS_LIMIT);
    requests = malloc(options.depth * frame_size);
    if (requests == NULL)
        err(EXIT_FAILURE, "requests");
    frame_write_header(requests, options.size);
    for (size_t i = 0; i < options.size; i++)
        requests[FRAME_HEADER + i] = (unsigned char)(i * 131 + i / 251);
    for (size_t i = 1; i < options.depth; i++)
        memcpy(requests + i * frame_size, requests, frame_size);
}

static void start_connections(void)
{
    uint64_t now = now_ns();
    last_reply = now;
    window_start = now + (uint64_t)(options.warmup * (double)NS_PER_S);
    window_end = window_start + (uint64_t)(options.seconds * (double)NS_PER_S);
    for (size_t i = 0; i < options.connections; i++) {
        if (connections[i].fd < 0)
            continue;
        queue_messages(&connections[i], options.depth, now_ns());
        send_queued(&connections[i]);
    }
}

static void run_turn(void)
{
    struct epoll_event events[MAX_EVENTS];
    int ready = epoll_wait(epoll, events, MAX_EVENTS, TICK_MS);
    if (ready < 0 && errno != EINTR)
        err(EXIT_FAILURE, "epoll_wait");
    for (int i = 0; i < ready; i++)
        serve_connection(events[i].data.ptr, events[i].events);
}

/* A connection that still waits after everything has been silent has lost a message. */
static void run(void)
{
    while (outstanding > 0) {
        run_turn();
        if (now_ns() - last_reply > SILENCE_LIMIT) {
            count_error("no reply for 5 s");
            return;
        }
    }
}

static void print_result(void)
{
    printf("{\"messages\":%" PRIu64 ",\"seconds\":%.3f,\"rate\":%.1f,\"errors\":%u,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           latencies.total, options.seconds, (double)latencies.total / options.seconds, errors,
           (double)histogram_quantile(&latencies, 0.50) / 1e3,
           (double)histogram_quantile(&latencies, 0.99) / 1e3);
}

int main(int argc, char **argv)
{
    options = options_parse(argc, argv);
    make_requests();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        err(EXIT_FAILURE, "epoll_create1");
    open_connections();
    start_connections();
    run();
    print_result();
    return errors > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
