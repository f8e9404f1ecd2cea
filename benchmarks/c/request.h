/*
 * What is sent, and what must come back: equal frames, one after the other.
 */
#ifndef REQUEST_H
#define REQUEST_H

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

/* Memory for `count` frames whose payload has no short period, so that a shifted reply shows. */
static inline unsigned char *request_frames(size_t count, size_t size)
{
    size_t frame_size = FRAME_HEADER + size;
    unsigned char *frames = malloc(count * frame_size);
    if (frames == NULL)
        err(EXIT_FAILURE, "requests");
    frame_write_header(frames, size);
    for (size_t i = 0; i < size; i++)
        frames[FRAME_HEADER + i] = (unsigned char)(i * 131 + i / 251);
    for (size_t i = 1; i < count; i++)
        memcpy(frames + i * frame_size, frames, frame_size);
    return frames;
}

#endif
