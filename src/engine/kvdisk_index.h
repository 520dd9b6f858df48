/* kvdisk_index: where each block of the disk tier lies. Records by the chain hash of what was before them; those behind the same
 * parent in a tree ordered by their tokens, whose neighbours share the longest beginning, and in a list, newest first: a store may
 * hold tens of thousands of different first blocks. Everything under the caller's lock. */
#ifndef HEARTH_ENGINE_KVDISK_INDEX_H
#define HEARTH_ENGINE_KVDISK_INDEX_H
#include "engine/kvdisk_file.h"

struct kvdisk_rec {
    struct kvdisk_rec *chain;        /* of its bucket, newest first; free list */
    struct kvdisk_rec *left, *right; /* of its bucket's tree */
    uint64_t serial;                 /* larger is newer */
    uint64_t rank;                   /* in the tree: by chance */
    struct kvdisk_segment *seg;      /* NULL: not yet written */
    uint64_t off;
    struct kvdisk_head head;
};

enum { KVDISK_SLAB = 64 };
struct kvdisk_slab { /* memory for records, the caller's */
    struct kvdisk_slab *next;
    struct kvdisk_rec rec[KVDISK_SLAB];
};

struct kvdisk_bucket {
    struct kvdisk_rec *chain, *tree;
};

enum { KVDISK_BUCKETS = 16384 };
struct kvdisk_index {
    struct kvdisk_bucket *bucket; /* [KVDISK_BUCKETS], the caller's, zeroed */
    struct kvdisk_rec *free;
    uint64_t
        seed; /* the caller's, which no client knows: whose prompts decide the order must not decide the tree's shape */
    uint64_t n_entered, n_dropped; /* ever */
};

void kvdisk_index_feed(struct kvdisk_index *x, struct kvdisk_slab *s);
bool kvdisk_index_enough(const struct kvdisk_index *x);                /* one free record for each I/O thread */
struct kvdisk_rec *kvdisk_index_new(struct kvdisk_index *x);           /* NULL: none is free */
void kvdisk_index_enter(struct kvdisk_index *x, struct kvdisk_rec *r); /* its head is filled and keeps its key */
void kvdisk_index_drop(struct kvdisk_index *x, struct kvdisk_rec *r);
void kvdisk_index_drop_segment(struct kvdisk_index *x, const struct kvdisk_segment *s);
/* The record that shares most of the key's tokens; *common of them. */
struct kvdisk_rec *kvdisk_index_find(const struct kvdisk_index *x, const struct kvdisk_key *k, bool unwritten,
                                     int *common);
struct kvdisk_rec *kvdisk_index_at(const struct kvdisk_index *x, struct kv_hash parent, const struct kvdisk_segment *s,
                                   uint64_t off);
/* The next written record behind `parent`, newest first. NULL: there is none. */
const struct kvdisk_rec *kvdisk_index_behind(const struct kvdisk_index *x, struct kv_hash parent,
                                             struct kvdisk_cursor *at);

#endif
