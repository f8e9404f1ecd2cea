/* Preloaded, a network that misbehaves by seed on one descriptor: it takes and gives fewer bytes
 * than were asked for, makes wait, and in the end, where that is wanted, resets the connection.
 * What is decided depends on the seed and on the calls before, and on nothing else. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum { WAIT_IN_A_ROW = 3, VECTORS = 64 };

static int disturbed = -1; /* the descriptor; -1 for none */
static uint64_t state;     /* of the generator, never 0 */
static int waits;          /* how often in a row nothing was done */
static long calls, last; /* calls so far; at which of them the connection is reset, 0: never */

/* From now on `fd` is disturbed, as `seed` has it; its call number `reset` breaks it. */
void network_begin(int fd, uint64_t seed, long reset)
{
    state = (seed + 1) * 0x9E3779B97F4A7C15u | 1;
    calls = waits = 0;
    last = reset;
    disturbed = fd;
}

/* Nothing is disturbed any more. */
void network_end(void)
{
    disturbed = -1;
}

/* Marsaglia's xorshift64*, 2003 */
static uint64_t chance(uint64_t below)
{
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (state * 0x2545F4914F6CDD1Du >> 33) % below;
}

/* How many of `size` bytes this call may move; -1, with errno, for none. */
static ssize_t allowed(size_t size)
{
    calls++;
    if (last != 0 && calls >= last) {
        errno = ECONNRESET;
        return -1;
    }
    if (waits < WAIT_IN_A_ROW && chance(4) == 0) {
        waits++;
        errno = chance(4) == 0 ? EINTR : EAGAIN;
        return -1;
    }
    waits = 0;
    if (size < 2 || chance(2) == 0)
        return size;
    return 1 + chance(chance(2) == 0 && size > 16 ? 16 : size - 1);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    ssize_t most = fd == disturbed ? allowed(size) : (ssize_t)size;
    return most < 0 ? -1 : REAL(send)(fd, data, most, flags);
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    ssize_t most = size;
    if (fd == disturbed && !(flags & MSG_PEEK))
        most = allowed(size);
    return most < 0 ? -1 : REAL(recv)(fd, data, most, flags);
}

/* The first `most` bytes of `from`, which has `count` pieces; returns how many pieces they are. */
static int cut(struct iovec *to, const struct iovec *from, int count, size_t most)
{
    int pieces = 0;
    while (pieces < count && pieces < VECTORS && most > 0) {
        to[pieces] = from[pieces];
        if (to[pieces].iov_len > most)
            to[pieces].iov_len = most;
        most -= to[pieces++].iov_len;
    }
    return pieces;
}

static size_t sum(const struct iovec *pieces, int count)
{
    size_t size = 0;
    while (count-- > 0)
        size += pieces[count].iov_len;
    return size;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec pieces[VECTORS];
    struct msghdr part = *message;
    ssize_t most;
    if (fd != disturbed)
        return REAL(sendmsg)(fd, message, flags);
    most = allowed(sum(message->msg_iov, message->msg_iovlen));
    if (most < 0)
        return -1;
    part.msg_iov = pieces;
    part.msg_iovlen = cut(pieces, message->msg_iov, message->msg_iovlen, most);
    return REAL(sendmsg)(fd, &part, flags);
}

ssize_t readv(int fd, const struct iovec *vectors, int count)
{
    struct iovec pieces[VECTORS];
    ssize_t most;
    if (fd != disturbed)
        return REAL(readv)(fd, vectors, count);
    most = allowed(sum(vectors, count));
    return most < 0 ? -1 : REAL(readv)(fd, pieces, cut(pieces, vectors, count, most));
}
