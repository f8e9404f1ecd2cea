/*
 * The wire format: a u32 big-endian payload length, then the payload.
 */
#ifndef FRAME_H
#define FRAME_H

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    FRAME_HEADER = sizeof(uint32_t),
    FRAME_MAX_PAYLOAD = 16 << 20, /* bytes */
};

static inline size_t frame_payload_length(const unsigned char *header)
{
    uint32_t length;
    memcpy(&length, header, sizeof length);
    return ntohl(length);
}

/* `length` is at most FRAME_MAX_PAYLOAD. */
static inline void frame_write_header(unsigned char *header, size_t length)
{
    uint32_t prefix = htonl((uint32_t)length);
    memcpy(header, &prefix, sizeof prefix);
}

#endif
