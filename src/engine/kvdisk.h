/* kvdisk: the prefix cache's second tier: indexed blocks in files, so that they survive eviction and restart. One folder, segment
 * files that are only ever appended to, records of a head (chain hash, tokens, checksums) and the block's bytes. A
 * head that is not whole ends its segment, data that is not what its checksum says is no hit: whatever a crash leaves, no wrong
 * bits come back. So nothing waits for the disk to be safe: the system writes when it sees fit, and a crash costs what was last. When the limit is reached the segment that was used least recently goes.
 *
 * Two I/O threads read and write; the engine thread copies what is to be written and is told when what it asked for is there. Reads
 * come before writes. The chain hash begins with the model's fingerprint, so another model's blocks are never found. */
#ifndef HEARTH_ENGINE_KVDISK_H
#define HEARTH_ENGINE_KVDISK_H
#include "engine/kv.h"

struct kvdisk;
struct kvdisk_segment;
struct kvdisk_opts {
    const char *dir; /* made if missing */
    uint64_t limit;  /* bytes of all segments */
    struct ledger *ledger;
    void (*done)(void *arg); /* by an I/O thread: a job is complete */
    void *arg;
};
/* Reads the heads of what is there. Refused when another process uses the folder. */
int kvdisk_open(struct kvdisk **out, const struct kvdisk_opts *o, struct err *e);
void kvdisk_close(struct kvdisk *d); /* writes what is queued; jobs before. NULL is fine */

struct kvdisk_key {
    struct kv_hash parent; /* chain hash of all tokens before the block */
    const int32_t *token;
    int n_tok, cls;
    size_t bytes; /* of the block */
};
/* How many of the key's tokens the best record has. */
int kvdisk_find(struct kvdisk *d, const struct kvdisk_key *k);
/* One block behind `parent` after the other, newest first; the cursor begins as zero. false: there is no further one. */
struct kvdisk_rec;
struct kvdisk_cursor {
    const struct kvdisk_rec *rec;
    uint64_t n_dropped, serial;
};
struct kvdisk_found {
    size_t bytes;
    int n_tok, cls;
    int32_t token[KV_BLOCK];
};
bool kvdisk_behind(struct kvdisk *d, struct kv_hash parent, struct kvdisk_cursor *at, struct kvdisk_found *out);
/* The block is in use: if it is there, its segment becomes the most recent one, else it is copied and written later; nothing happens
 * when too much waits or memory is short. */
void kvdisk_write(struct kvdisk *d, const struct kvdisk_key *k, const uint8_t *block);

/* Blocks to be read. The item's record is fixed when the job begins. */
struct kvdisk_item {
    struct kvdisk_key key;
    uint8_t *block; /* [key.bytes], the caller's */
    int n_tok;      /* out: the record's; 0 when it could not be read */
    int32_t token[KV_BLOCK];
    struct { /* inside: where it lies */
        struct kvdisk_segment *seg;
        uint64_t off, sum;
        int n_tok;
    } at;
};
struct kvdisk_job {
    struct kvdisk_item *item;
    int n;
    int begun, left; /* inside */
    struct kvdisk_job *next;
};
void kvdisk_begin(struct kvdisk *d, struct kvdisk_job *j);
bool kvdisk_done(struct kvdisk *d, const struct kvdisk_job *j);
void kvdisk_cancel(struct kvdisk *d,
                   struct kvdisk_job *j); /* afterwards nobody touches its blocks; what was read is told */

struct kvdisk_stats {
    uint64_t read_total, written_total, bad_total; /* blocks */
    uint64_t bytes;                                /* on disk */
    size_t records;
};
void kvdisk_stats(struct kvdisk *d, struct kvdisk_stats *out);

#endif
