/*
 * Opens connections, has one message echoed on each, and ends them, for as long as it is told to:
 * one thread, epoll.
 *
 *     churn [HOST:]PORT -c CONNECTIONS -d SECONDS -s SIZE [--warmup SECONDS]
 *
 * So many CONNECTIONS are under way at any time. Each is connected, sends a frame, compares what
 * comes back, ends its side, waits for the server's end, and is then replaced. The ends are orderly
 * ones, and the client's comes first, so TIME_WAIT stays with the client, whatever the server.
 * Connections that ended in the SECONDS after the warm-up count.
 *
 * Prints one line of JSON. Exit status: 0 done, 1 a connection failed, 2 the command line is wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/epoll.h>

#include "clock.h"
#include "connect.h"
#include "histogram.h"
#include "options.h"
#include "request.h"

enum {
    MAX_EVENTS = 1024,
    SILENCE_MS = 5000,
};

struct connection {
    int fd;
    size_t received;    /* bytes of the echo */
    uint64_t opened_at; /* ns, before the connect */
};

static struct options options;
static size_t frame_size;
static unsigned char *request, *input;
static int epoll;

static uint64_t window_start, window_end; /* ns */
static uint64_t opened;                   /* connections, from the start */
static size_t active;
static struct histogram lives;

static void open_connection(struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    connection->opened_at = now_ns();
    connection->received = 0;
    connection->fd = connect_from_many(&options.address, opened++);
    if (connection->fd < 0)
        err(EXIT_FAILURE, "connect");
    if (send(connection->fd, request, frame_size, MSG_NOSIGNAL) != (ssize_t)frame_size)
        err(EXIT_FAILURE, "send");
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        err(EXIT_FAILURE, "epoll_ctl");
    active++;
}

static void close_connection(struct connection *connection)
{
    uint64_t now = now_ns();
    close(connection->fd);
    active--;
    if (now >= window_start && now < window_end)
        histogram_record(&lives, now - connection->opened_at);
    if (now < window_end)
        open_connection(connection);
}

static void take_echo(struct connection *connection, size_t length)
{
    if (connection->received + length > frame_size
        || memcmp(input, request + connection->received, length) != 0)
        errx(EXIT_FAILURE, "a reply differs from its request in length or payload");
    connection->received += length;
    if (connection->received == frame_size && shutdown(connection->fd, SHUT_WR) < 0)
        err(EXIT_FAILURE, "shutdown");
}

static void serve_connection(struct connection *connection)
{
    ssize_t received = recv(connection->fd, input, frame_size, MSG_DONTWAIT);
    if (received > 0)
        take_echo(connection, (size_t)received);
    else if (received == 0 && connection->received == frame_size)
        close_connection(connection);
    else if (received == 0)
        errx(EXIT_FAILURE, "the server closed a connection");
    else if (errno != EAGAIN && errno != EINTR)
        err(EXIT_FAILURE, "receive");
}

static void run_turn(void)
{
    struct epoll_event events[MAX_EVENTS];
    int ready = epoll_wait(epoll, events, MAX_EVENTS, SILENCE_MS);
    if (ready == 0)
        errx(EXIT_FAILURE, "nothing happened for 5 s");
    if (ready < 0 && errno != EINTR)
        err(EXIT_FAILURE, "epoll_wait");
    for (int i = 0; i < ready; i++)
        serve_connection(events[i].data.ptr);
}

int main(int argc, char **argv)
{
    options = options_parse(argc, argv);
    frame_size = FRAME_HEADER + options.size;
    request = request_frames(1, options.size);
    input = malloc(frame_size);
    struct connection *connections = calloc(options.connections, sizeof *connections);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (input == NULL || connections == NULL || epoll < 0)
        err(EXIT_FAILURE, "start");
    window_start = now_ns() + (uint64_t)(options.warmup * (double)NS_PER_S);
    window_end = window_start + (uint64_t)(options.seconds * (double)NS_PER_S);
    options_announce(&options, window_start);
    for (size_t i = 0; i < options.connections; i++)
        open_connection(&connections[i]);
    while (active > 0)
        run_turn();
    printf("{\"connections\":%" PRIu64 ",\"seconds\":%.3f,\"rate\":%.1f,\"p50_us\":%.1f,"
           "\"p99_us\":%.1f}\n",
           lives.total, options.seconds, (double)lives.total / options.seconds,
           (double)histogram_quantile(&lives, 0.50) / 1e3,
           (double)histogram_quantile(&lives, 0.99) / 1e3);
    return EXIT_SUCCESS;
}
