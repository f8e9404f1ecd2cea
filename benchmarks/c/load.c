/*
 * A load generator for framed echo servers, written for the purpose: one thread, epoll.
 *
 *     load [HOST:]PORT -c CONNECTIONS -d SECONDS -s SIZE [--depth D | --rate R] [--warmup SECONDS]
 *
 * A closed loop: every connection keeps D messages of SIZE bytes outstanding, and those whose reply
 * arrives in the SECONDS after the warm-up count. Or an open loop: R messages a second are sent on
 * all connections in turn, each at its planned time whether or not others are answered; those
 * planned in the SECONDS count, and their latency is from the planned time. Then no more are sent,
 * and the replies still due are awaited and checked. Every byte that comes back, headers included,
 * is compared with what was sent.
 *
 * Prints one line of JSON. Exit status: 0 done, 1 a connection failed, 2 the command line is wrong.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "connect.h"
#include "frame.h"
#include "histogram.h"
#include "options.h"
#include "request.h"

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
    uint64_t *queued_at; /* ns, message i at i % ring; in an open loop, its planned time */
};

static struct options options;
static size_t frame_size;       /* bytes, header included */
static unsigned char *requests; /* equal frames: what is sent, and what must come back */
static size_t requests_size;    /* bytes */
static size_t ring;             /* messages outstanding on a connection, at most */
static unsigned char input[INPUT_SIZE];
static struct connection *connections;
static int epoll;

static uint64_t window_start, window_end; /* ns */
static uint64_t last_reply;               /* ns */
static uint64_t outstanding;              /* messages, on all connections */
static unsigned errors;
static struct histogram latencies;

static uint64_t start;       /* ns */
static uint64_t planned;     /* messages of an open loop, from the start */
static struct histogram slips; /* ns by which they were sent late */

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
        connection->queued_at[connection->queued++ % ring] = now;
    connection->unsent += count * frame_size;
    outstanding += count;
}

static void send_queued(struct connection *connection)
{
    size_t sent_of_frame = (frame_size - connection->unsent % frame_size) % frame_size;
    size_t most = requests_size - sent_of_frame;
    size_t length = connection->unsent < most ? connection->unsent : most;
    ssize_t sent = send(connection->fd, requests + sent_of_frame, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        fail_connection(connection, strerror(errno));
        return;
    }
    connection->unsent -= sent > 0 ? (size_t)sent : 0;
    watch_writing(connection, connection->unsent > 0);
}

static void record_replies(struct connection *connection, uint64_t count, uint64_t now)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t queued_at = connection->queued_at[connection->replied++ % ring];
        uint64_t counts_at = options.rate > 0 ? queued_at : now;
        if (counts_at >= window_start && counts_at < window_end)
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
    if (options.rate == 0 && now < window_end)
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

static void open_connection(struct connection *connection)
{
    connection->fd = connect_socket(&options.address);
    if (connection->fd < 0) {
        count_error("cannot connect");
        return;
    }
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    connection->queued_at = calloc(ring, sizeof *connection->queued_at);
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

/* Frames enough for the depth, and to compare whatever one recv may bring. */
static void make_requests(void)
{
    frame_size = FRAME_HEADER + options.size;
    if (options.depth > REQUESTS_LIMIT / frame_size)
        errx(2, "depth times size is over %d bytes", REQUESTS_LIMIT);
    size_t count = INPUT_SIZE / frame_size + 2;
    count = count > options.depth ? count : options.depth;
    requests = request_frames(count, options.size);
    requests_size = count * frame_size;
}

/* The most that may be outstanding on a connection; in an open loop, all that are ever planned. */
static void size_ring(void)
{
    double messages = options.rate * (options.warmup + options.seconds);
    ring = options.rate > 0 ? (size_t)(messages / (double)options.connections) + 2 : options.depth;
}

static void start_connections(void)
{
    start = last_reply = now_ns();
    window_start = start + (uint64_t)(options.warmup * (double)NS_PER_S);
    window_end = window_start + (uint64_t)(options.seconds * (double)NS_PER_S);
    options_announce(&options, window_start);
    for (size_t i = 0; options.rate == 0 && i < options.connections; i++) {
        if (connections[i].fd < 0)
            continue;
        queue_messages(&connections[i], options.depth, now_ns());
        send_queued(&connections[i]);
    }
}

static uint64_t next_planned(void)
{
    return start + (uint64_t)((double)planned * (double)NS_PER_S / options.rate);
}

static bool more_planned(void)
{
    return options.rate > 0 && next_planned() < window_end;
}

static void send_planned(struct connection *connection, uint64_t time, uint64_t now)
{
    if (time >= window_start)
        histogram_record(&slips, now - time);
    queue_messages(connection, 1, time);
    if (!connection->writing)
        send_queued(connection);
}

/* Sends whatever is due. A connection that has failed is passed over. */
static void keep_the_plan(void)
{
    for (uint64_t now = now_ns(); more_planned() && next_planned() <= now; now = now_ns()) {
        uint64_t time = next_planned();
        struct connection *connection = &connections[planned++ % options.connections];
        if (connection->fd >= 0)
            send_planned(connection, time, now);
    }
}

/* While messages are planned it does not sleep: epoll_wait would wake it up too late. */
static void run_turn(void)
{
    struct epoll_event events[MAX_EVENTS];
    keep_the_plan();
    int ready = epoll_wait(epoll, events, MAX_EVENTS, more_planned() ? 0 : TICK_MS);
    if (ready < 0 && errno != EINTR)
        err(EXIT_FAILURE, "epoll_wait");
    for (int i = 0; i < ready; i++)
        serve_connection(events[i].data.ptr, events[i].events);
}

/* A connection that still waits after everything has been silent has lost a message. */
static void run(void)
{
    while (outstanding > 0 || more_planned()) {
        run_turn();
        if (now_ns() - last_reply > SILENCE_LIMIT) {
            count_error("no reply for 5 s");
            return;
        }
    }
}

static double microseconds(const struct histogram *histogram, double fraction)
{
    return (double)histogram_quantile(histogram, fraction) / 1e3;
}

static void print_result(void)
{
    printf("{\"messages\":%" PRIu64 ",\"seconds\":%.3f,\"rate\":%.1f,\"errors\":%u,"
           "\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,"
           "\"slip_p999_us\":%.1f}\n",
           latencies.total, options.seconds, (double)latencies.total / options.seconds, errors,
           microseconds(&latencies, 0.50), microseconds(&latencies, 0.90),
           microseconds(&latencies, 0.99), microseconds(&latencies, 0.999),
           microseconds(&latencies, 1.0), microseconds(&slips, 0.999));
}

int main(int argc, char **argv)
{
    options = options_parse(argc, argv);
    make_requests();
    size_ring();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        err(EXIT_FAILURE, "epoll_create1");
    open_connections();
    start_connections();
    run();
    print_result();
    return errors > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
