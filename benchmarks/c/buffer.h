/*
 * A growable run of bytes. An empty buffer, all zeros, owns no memory.
 */
#ifndef BUFFER_H
#define BUFFER_H

#include <err.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    unsigned char *data;
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes owned */
};

/* Makes room for `capacity` bytes in all; ends the program when there is no memory. */
static inline void buffer_reserve(struct buffer *buffer, size_t capacity)
{
    if (capacity <= buffer->capacity)
        return;
    buffer->data = realloc(buffer->data, capacity);
    if (buffer->data == NULL)
        err(EXIT_FAILURE, "buffer of %zu bytes", capacity);
    buffer->capacity = capacity;
}

/* Adds `length` bytes for the caller to fill in, and returns where they start. */
static inline unsigned char *buffer_extend(struct buffer *buffer, size_t length)
{
    size_t start = buffer->length;
    if (start + length > buffer->capacity)
        buffer_reserve(buffer, 2 * start + length);
    buffer->length = start + length;
    return buffer->data + start;
}

static inline void buffer_append(struct buffer *buffer, const unsigned char *data, size_t length)
{
    memcpy(buffer_extend(buffer, length), data, length);
}

static inline void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

#endif
