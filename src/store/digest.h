/* digest: SHA-256 of a stream, of a file, as hex. */
#ifndef HEARTH_STORE_DIGEST_H
#define HEARTH_STORE_DIGEST_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_HEX = 65 }; /* 64 digits and the NUL */

struct digest {
    void *ctx; /* OpenSSL's; NULL after digest_done */
};
int digest_init(struct digest *d, struct err *e);
void digest_add(struct digest *d, const void *p, size_t n);
void digest_hex(struct digest *d, char out[DIGEST_HEX]); /* ends the stream */
void digest_done(struct digest *d);

void digest_of(const char *text, char out[DIGEST_HEX]); /* "" when out of memory */
bool digest_valid(const char *hex);                     /* 64 lower-case digits */
/* Called every MiB or so with the bytes hashed; non-zero stops and is returned. */
typedef int (*digest_tick_fn)(void *arg, uint64_t done);
int digest_file(int fd, char out[DIGEST_HEX], digest_tick_fn tick, void *arg, struct err *e);

#endif
