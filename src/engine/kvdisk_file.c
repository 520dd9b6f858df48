/* kvdisk_file: see kvdisk_file.h. Files are untrusted: they may be cut, torn or scribbled on. */
#include "engine/kvdisk_file.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#define XXH_STATIC_LINKING_ONLY /* the state lies on the stack */
#ifdef HEARTH_XXH_DISPATCH
#include <xxh_x86dispatch.h> /* the same sums, by the vectors that this processor has */
#else
#include <xxhash.h>
#endif

enum { VERSION = 1 };
static const char magic[8] = "hearthkv";
static const uint64_t BLOCK_LEAST = 1024,
                      BLOCK_MOST = (uint64_t)1 << 32; /* of a model of one layer; no record is mostly head */

static bool read_all(int fd, void *to, size_t n, uint64_t off)
{
    uint8_t *p = to;
    while (n) {
        ssize_t got = pread(fd, p, n, (off_t)off);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        off += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

bool kvdisk_file_head(int fd, uint64_t off, uint64_t size, struct kvdisk_head *h)
{
    if (off > size || size - off < sizeof *h || !read_all(fd, h, sizeof *h, off))
        return false;
    if (memcmp(h->magic, magic, sizeof magic) != 0 || h->version != VERSION || h->cls >= GRAPH_KV_CLASSES ||
        h->n_tok < 1 || h->n_tok > KV_BLOCK || h->bytes < BLOCK_LEAST || h->bytes > BLOCK_MOST ||
        h->bytes > size - off - sizeof *h)
        return false;
    return h->head_sum == XXH3_64bits(h, offsetof(struct kvdisk_head, head_sum));
}

struct kvdisk_head kvdisk_file_head_of(const struct kvdisk_key *k)
{
    struct kvdisk_head h = {.version = VERSION,
                            .cls = (uint32_t)k->cls,
                            .n_tok = (uint32_t)k->n_tok,
                            .bytes = k->bytes,
                            .parent = k->parent};
    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.token, k->token, (size_t)k->n_tok * sizeof *k->token);
    return h;
}

void kvdisk_file_sum(struct kvdisk_head *h, const uint8_t *block)
{
    h->data_sum = XXH3_64bits(block, h->bytes);
    h->head_sum = XXH3_64bits(h, offsetof(struct kvdisk_head, head_sum));
}

int kvdisk_file_write(int fd, uint64_t off, const struct kvdisk_head *h, const uint8_t *block)
{
    size_t at = 0, all = sizeof *h + h->bytes;
    while (at < all) {
        struct iovec v[2] = {{(uint8_t *)h + at, sizeof *h - at}, {(uint8_t *)block, h->bytes}};
        bool head = at < sizeof *h;
        if (!head)
            v[1] = (struct iovec){(uint8_t *)block + (at - sizeof *h), all - at};
        ssize_t n = pwritev(fd, head ? v : v + 1, head ? 2 : 1, (off_t)(off + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        at += (size_t)n;
    }
    return 0;
}

bool kvdisk_file_read(int fd, uint64_t off, uint64_t sum, uint8_t *block, size_t bytes)
{
    enum { PIECE = 128 << 10 }; /* is still in the core's cache when it is summed up */
    XXH3_state_t x;
    XXH3_64bits_reset(&x);
    for (size_t at = 0, n; at < bytes; at += n) {
        n = bytes - at < PIECE ? bytes - at : PIECE;
        if (!read_all(fd, block + at, n, off + sizeof(struct kvdisk_head) + at))
            return false;
        XXH3_64bits_update(&x, block + at, n);
    }
    return XXH3_64bits_digest(&x) == sum;
}
