/* kvdisk_file: what a segment file looks like; see kvdisk.h. */
#ifndef HEARTH_ENGINE_KVDISK_FILE_H
#define HEARTH_ENGINE_KVDISK_FILE_H
#include "engine/kvdisk.h"

struct kvdisk_head { /* as it lies in the file, little-endian */
    char magic[8];
    uint32_t version, cls, n_tok, zero;
    uint64_t bytes; /* of the block that follows */
    struct kv_hash parent;
    int32_t token[KV_BLOCK];
    uint64_t data_sum, head_sum; /* XXH3: of the block; of the head before it */
};

/* Reads the head at `off` of a file of `size` bytes: true when it is whole and its block ends inside the file. */
bool kvdisk_file_head(int fd, uint64_t off, uint64_t size, struct kvdisk_head *h);
struct kvdisk_head kvdisk_file_head_of(const struct kvdisk_key *k);                             /* without checksums */
void kvdisk_file_sum(struct kvdisk_head *h, const uint8_t *block);                              /* the checksums */
int kvdisk_file_write(int fd, uint64_t off, const struct kvdisk_head *h, const uint8_t *block); /* errno or 0 */
/* The block behind the head at `off`; false unless its checksum is `sum`. */
bool kvdisk_file_read(int fd, uint64_t off, uint64_t sum, uint8_t *block, size_t bytes);

#endif
