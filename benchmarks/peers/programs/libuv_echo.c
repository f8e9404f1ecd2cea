/*
 * Peer: libuv. Run with a port; 0 is any free port.
 *
 * All connections share one read buffer, as libuv allows where each read is finished within its
 * callback. The replies of a read leave in one write: uv_try_write, and uv_write for the rest.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { HEADER = 4, INPUT_SIZE = 256 << 10, BACKLOG = 2048 };

struct bytes {
    char *data;
    size_t length, room;
};

struct connection {
    uv_tcp_t tcp;
    struct bytes partial; /* the incomplete frame */
};

struct reply {
    uv_write_t request;
    char data[];
};

static char input[INPUT_SIZE];
static struct bytes output;

static void append(struct bytes *bytes, const void *data, size_t length)
{
    if (bytes->length + length > bytes->room) {
        bytes->room = 2 * (bytes->length + length);
        bytes->data = realloc(bytes->data, bytes->room);
        if (bytes->data == NULL)
            abort();
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static uint32_t payload_length(const char *frame)
{
    uint32_t length;
    memcpy(&length, frame, HEADER);
    return ntohl(length);
}

static void handle(const char *message, uint32_t length)
{
    uint32_t header = htonl(length);
    append(&output, &header, HEADER);
    append(&output, message, length);
}

/* Returns the bytes of the whole frames. */
static size_t cut_frames(const char *data, size_t length)
{
    size_t start = 0;
    while (length - start >= HEADER) {
        uint32_t payload = payload_length(data + start);
        if (length - start - HEADER < payload)
            break;
        handle(data + start + HEADER, payload);
        start += HEADER + payload;
    }
    return start;
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = (struct connection *)handle;
    free(connection->partial.data);
    free(connection);
}

static void on_written(uv_write_t *request, int status)
{
    (void)status; /* the read callback is told of an error */
    free(request);
}

static void send_output(uv_stream_t *stream)
{
    uv_buf_t all = uv_buf_init(output.data, output.length);
    int sent = uv_try_write(stream, &all, 1);
    size_t start = sent > 0 ? (size_t)sent : 0;
    if (start < output.length) {
        size_t left = output.length - start;
        struct reply *reply = malloc(sizeof *reply + left);
        if (reply == NULL)
            abort();
        memcpy(reply->data, output.data + start, left);
        uv_buf_t rest = uv_buf_init(reply->data, left);
        uv_write(&reply->request, stream, &rest, 1, on_written);
    }
    output.length = 0;
}

static void on_read(uv_stream_t *stream, ssize_t received, const uv_buf_t *buffer)
{
    struct connection *connection = (struct connection *)stream;
    struct bytes *partial = &connection->partial;
    if (received < 0) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    if (partial->length == 0) {
        size_t used = cut_frames(buffer->base, received);
        append(partial, buffer->base + used, received - used);
    } else {
        append(partial, buffer->base, received);
        size_t used = cut_frames(partial->data, partial->length);
        memmove(partial->data, partial->data + used, partial->length - used);
        partial->length -= used;
    }
    if (output.length > 0)
        send_output(stream);
}

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle, (void)suggested;
    *buffer = uv_buf_init(input, sizeof input);
}

static void on_connection(uv_stream_t *server, int status)
{
    if (status < 0)
        return;
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        abort();
    uv_tcp_init(server->loop, &connection->tcp);
    if (uv_accept(server, (uv_stream_t *)&connection->tcp) == 0) {
        uv_tcp_nodelay(&connection->tcp, 1);
        uv_read_start((uv_stream_t *)&connection->tcp, allocate, on_read);
    } else {
        uv_close((uv_handle_t *)&connection->tcp, on_closed);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    uv_stop(handle->loop);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;
    uv_signal_t terminated;
    struct sockaddr_in address;
    int size = sizeof address;
    uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0, &address);
    uv_tcp_init(loop, &server);
    uv_tcp_bind(&server, (struct sockaddr *)&address, 0);
    if (uv_listen((uv_stream_t *)&server, BACKLOG, on_connection) < 0)
        return EXIT_FAILURE;
    uv_signal_init(loop, &terminated);
    uv_signal_start(&terminated, on_signal, SIGTERM);
    uv_tcp_getsockname(&server, (struct sockaddr *)&address, &size);
    printf("libuv: serving on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    uv_run(loop, UV_RUN_DEFAULT);
    return EXIT_SUCCESS;
}
