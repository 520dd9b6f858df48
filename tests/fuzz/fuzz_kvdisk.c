/* Fuzz target: any bytes as a segment of the cache's disk tier. What is found must be a whole record of the file for just that
 * beginning, and what is read its very bytes. First byte, bits: 1 the heads' checksums are made right, 2 the blocks', 4 then a byte
 * is changed (the last three bytes say where and how): without these no random file would get past the first head. */
#include "../unit/folder.h"
#include "engine/kvdisk_file.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { RECORDS = 64, HEAD = sizeof(struct kvdisk_head) };
static const char *folder;

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void remove_folder(void)
{
    folder_remove(folder);
}

/* What the file format says of a head, in the test's own words. */
static bool head_at(const uint8_t *file, size_t len, size_t off, struct kvdisk_head *h)
{
    if (len - off < HEAD)
        return false;
    memcpy(h, file + off, HEAD);
    return !memcmp(h->magic, "hearthkv", 8) && h->version == 1 && h->cls < 2 && h->n_tok >= 1 && h->n_tok <= 64 &&
           h->bytes >= 1024 && h->bytes <= len - off - HEAD;
}

static uint64_t head_sum(const struct kvdisk_head *h)
{
    return XXH3_64bits(h, offsetof(struct kvdisk_head, head_sum));
}

static void repair(uint8_t *file, size_t len, unsigned how)
{
    struct kvdisk_head h;
    for (size_t off = 0; head_at(file, len, off, &h); off += HEAD + h.bytes) {
        if (how & 2)
            h.data_sum = XXH3_64bits(file + off + HEAD, h.bytes);
        if (how & 1)
            h.head_sum = head_sum(&h);
        memcpy(file + off, &h, HEAD);
    }
    if ((how & 4) && len > 3)
        file[((size_t)file[len - 3] << 8 | file[len - 2]) % len] ^= file[len - 1];
}

static int scan(const uint8_t *file, size_t len, size_t *at)
{
    struct kvdisk_head h;
    int n = 0;
    for (size_t off = 0; n < RECORDS && head_at(file, len, off, &h) && h.head_sum == head_sum(&h);
         off += HEAD + h.bytes)
        at[n++] = off;
    return n;
}

/* The record that was given for its key is one of the file, whole, and begins as the key does. */
static bool is_record(const uint8_t *file, const size_t *at, int n, const struct kvdisk_item *it)
{
    for (int i = 0; i < n; i++) {
        struct kvdisk_head h;
        memcpy(&h, file + at[i], HEAD);
        if (h.bytes == it->key.bytes && (int)h.cls == it->key.cls && (int)h.n_tok == it->n_tok &&
            !memcmp(&h.parent, &it->key.parent, sizeof h.parent) && h.token[0] == it->key.token[0] &&
            !memcmp(h.token, it->token, sizeof h.token) && !memcmp(file + at[i] + HEAD, it->block, h.bytes) &&
            XXH3_64bits(it->block, h.bytes) == h.data_sum)
            return true;
    }
    return false;
}

static void ask(struct kvdisk *d, const uint8_t *file, const size_t *at, int n, const struct kvdisk_key *k)
{
    struct kvdisk_item it = {.key = *k, .block = malloc(k->bytes)};
    struct kvdisk_job job = {.item = &it, .n = 1};
    require(it.block != NULL);
    int found = kvdisk_find(d, k);
    require(found >= 0 && found <= k->n_tok);
    kvdisk_begin(d, &job);
    while (!kvdisk_done(d, &job)) /* an I/O thread has it */
        usleep(10);
    require(!it.n_tok || (found && is_record(file, at, n, &it)));
    free(it.block);
}

static struct kvdisk_key key_of(const struct kvdisk_head *h)
{
    return (struct kvdisk_key){h->parent, h->token, (int)h->n_tok, (int)h->cls, h->bytes};
}

static void find_all(struct kvdisk *d, const uint8_t *file, const size_t *at, int n)
{
    for (int i = 0; i < n; i++) {
        struct kvdisk_head h;
        memcpy(&h, file + at[i], HEAD);
        struct kvdisk_key k = key_of(&h);
        require(kvdisk_find(d, &k) == k.n_tok);
    }
}

static void ask_all(struct kvdisk *d, const uint8_t *file, const size_t *at, int n)
{
    for (int i = 0; i < n; i++) {
        struct kvdisk_head h;
        memcpy(&h, file + at[i], HEAD);
        struct kvdisk_key k = key_of(&h);
        ask(d, file, at, n, &k);
        k.parent.lo ^= 1; /* another model's */
        ask(d, file, at, n, &k);
        k.parent.lo ^= 1;
        k.n_tok = KV_BLOCK; /* zeros behind what the record has */
        ask(d, file, at, n, &k);
        k.bytes += 64;
        ask(d, file, at, n, &k);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    size_t at[RECORDS];
    char path[96];
    struct ledger *l;
    struct kvdisk *d;
    if (len < 1)
        return 0;
    if (!folder) {
        folder = folder_make("fuzz");
        atexit(remove_folder);
    }
    uint8_t *file = malloc(len);
    require(file != NULL);
    memcpy(file, bytes + 1, len - 1);
    len--;
    repair(file, len, bytes[0]);
    snprintf(path, sizeof path, "%s/%016x.kv", folder, 1);
    FILE *f = fopen(path, "wb");
    require(f && fwrite(file, 1, len, f) == len && !fclose(f));
    struct kvdisk_opts o = {.dir = folder, .limit = (uint64_t)1 << 30};
    require(!ledger_new(&l, (size_t)1 << 30, NULL));
    o.ledger = l;
    require(!kvdisk_open(&d, &o, NULL));
    int n = scan(file, len, at);
    find_all(d, file, at, n);
    ask_all(d, file, at, n);
    kvdisk_close(d);
    require(ledger_used(l) == 0);
    ledger_free(l);
    unlink(path);
    free(file);
    return 0;
}
