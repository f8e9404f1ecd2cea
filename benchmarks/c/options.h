/*
 * The command line of the load generators.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <err.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "address.h"
#include "clock.h"
#include "frame.h"

struct options {
    struct sockaddr_in address;
    size_t connections;
    size_t depth; /* messages outstanding on each connection */
    size_t size;  /* bytes of payload */
    double rate;  /* messages a second on all connections; 0: a closed loop */
    double seconds;
    double warmup;
    bool announce; /* print when the window begins, once that is known */
};

/* Prints a time of the monotonic clock in seconds, for who observes the window from outside. */
static inline void options_announce(const struct options *options, uint64_t window_start)
{
    if (!options->announce)
        return;
    printf("%.6f\n", (double)window_start / (double)NS_PER_S);
    fflush(stdout);
}

static inline size_t options_parse_count(const char *text, size_t lowest, size_t highest)
{
    char *end;
    unsigned long long count = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || count < lowest || count > highest)
        errx(2, "%s is not a number from %zu to %zu", text, lowest, highest);
    return count;
}

static inline double options_parse_seconds(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= 86400))
        errx(2, "%s is not a number of seconds from 0 to 86400", text);
    return seconds;
}

static inline void options_usage(void)
{
    errx(2, "usage: [HOST:]PORT -c CONNECTIONS -d SECONDS -s SIZE [--depth D | --rate R]"
            " [--warmup SECONDS] [--announce]");
}

static inline void options_set(struct options *options, int name, const char *value)
{
    switch (name) {
    case 'a':
        options->announce = true;
        break;
    case 'c':
        options->connections = options_parse_count(value, 1, 1 << 20);
        break;
    case 'd':
        options->seconds = options_parse_seconds(value);
        break;
    case 'D':
        options->depth = options_parse_count(value, 1, 1 << 20);
        break;
    case 'r':
        options->rate = (double)options_parse_count(value, 1, 10000000);
        break;
    case 's':
        options->size = options_parse_count(value, 0, FRAME_MAX_PAYLOAD);
        break;
    case 'w':
        options->warmup = options_parse_seconds(value);
        break;
    default:
        options_usage();
    }
}

/* Ends the program with status 2 if the command line is wrong. */
static inline struct options options_parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"connections", required_argument, NULL, 'c'}, {"duration", required_argument, NULL, 'd'},
        {"depth", required_argument, NULL, 'D'},       {"size", required_argument, NULL, 's'},
        {"warmup", required_argument, NULL, 'w'},      {"rate", required_argument, NULL, 'r'},
        {"announce", no_argument, NULL, 'a'},          {NULL, 0, NULL, 0},
    };
    struct options options = {.connections = 100, .depth = 1, .size = 64, .seconds = 10};
    int name;
    while ((name = getopt_long(argc, argv, "c:d:s:", names, NULL)) != -1)
        options_set(&options, name, optarg);
    if (optind != argc - 1 || options.seconds == 0)
        options_usage();
    options.address = address_parse(argv[optind]);
    return options;
}

#endif
