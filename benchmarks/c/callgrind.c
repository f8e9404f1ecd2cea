// Callgrind's client requests as functions, for ctypes. Outside valgrind they do nothing.
#include <valgrind/callgrind.h>

// Begin to count instructions, or end it.
void toggle(void) { CALLGRIND_TOGGLE_COLLECT; }

// Write what was counted to a file of its own, under this name, and count from 0 on.
void dump(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
