/*
 * Addresses on the command line: [HOST:]PORT, HOST a dotted IPv4 address, 127.0.0.1 by default.
 */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_TEXT = INET_ADDRSTRLEN + sizeof ":65535" };

static inline in_port_t address_parse_port(const char *text)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || port > 65535)
        errx(2, "port %s is not a number from 0 to 65535", text);
    return htons((in_port_t)port);
}

/* Ends the program with status 2 if `text` is no address. */
static inline struct sockaddr_in address_parse(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64] = "127.0.0.1"; /* more than any address, so that none is cut to fit */
    const char *colon = strrchr(text, ':');
    if (colon != NULL)
        snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        errx(2, "address %s is not [HOST:]PORT with an IPv4 host", text);
    address.sin_port = address_parse_port(colon == NULL ? text : colon + 1);
    return address;
}

static inline const char *address_format(const struct sockaddr_in *address, char text[ADDRESS_TEXT])
{
    char host[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address->sin_addr, host, sizeof host);
    snprintf(text, ADDRESS_TEXT, "%s:%u", host, ntohs(address->sin_port));
    return text;
}

#endif
