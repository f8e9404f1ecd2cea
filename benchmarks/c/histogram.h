/*
 * A log-linear histogram of nanoseconds: each power of two is cut into HISTOGRAM_STEPS equal
 * buckets, so a quantile is right to within 1/HISTOGRAM_STEPS of its value.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_BITS = 7,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_BITS,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS + 1) * HISTOGRAM_STEPS,
};

struct histogram {
    uint64_t total;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

/* Values below HISTOGRAM_STEPS have a bucket each; above, the top HISTOGRAM_BITS + 1 bits count. */
static inline unsigned histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63 - HISTOGRAM_BITS - (unsigned)__builtin_clzll(value);
    return shift * HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

/* The lowest value that falls into `bucket`. */
static inline uint64_t histogram_value(unsigned bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    return (uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
}

static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->counts[histogram_bucket(value)]++;
    histogram->total++;
}

/* The value that a `fraction` (0 to 1) of all records do not exceed; 0 when there are none. */
static inline uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    double rank = fraction * (double)histogram->total;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen > 0 && (double)seen >= rank)
            return histogram_value(bucket);
    }
    return 0;
}

#endif
