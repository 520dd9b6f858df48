/* fs: files and folders. Direct and buffered reads, atomic replace, the XDG folders. */
#ifndef HEARTH_BASE_FS_H
#define HEARTH_BASE_FS_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file opened for large reads. Direct I/O where the file system allows (O_DIRECT, alignment handled inside by the caller
 * reading whole FS_ALIGN blocks), else buffered with the page cache given back behind the reads. */
enum { FS_ALIGN = 4096 };
struct fs_reader {
    int fd;
    bool direct;
    uint64_t size;
};
int fs_reader_open(struct fs_reader *r, const char *path, struct err *e);
void fs_reader_close(struct fs_reader *r);
/* Reads [off, off+len) into dst, which must be FS_ALIGN-aligned with room for len rounded out to FS_ALIGN on both sides;
 * *data is where byte `off` came to lie. Thread-safe (pread). A short file is ERR_FORMAT. */
int fs_reader_at(const struct fs_reader *r, uint64_t off, size_t len, void *dst, size_t dst_len, const uint8_t **data,
                 struct err *e);

int fs_read_all(const char *path, size_t limit, char **out, size_t *len,
                struct err *e); /* out: mem_free; NUL-terminated */
int fs_write_atomic(const char *path, const void *data, size_t len,
                    struct err *e); /* temp + fsync + rename + fsync dir; a device or pipe is written to */
int fs_can_write(const char *path, struct err *e); /* asked before long work: could fs_write_atomic? */
int fs_mkdirs(const char *path, struct err *e);
int fs_free_bytes(const char *path, uint64_t *out, struct err *e);
/* $HEARTH_HOME if set, else $XDG_DATA_HOME/hearth, else $HOME/.local/share/hearth; made if missing. out: mem_free */
int fs_data_dir(char **out, struct err *e);
char *fs_join(const char *a, const char *b); /* mem_free */

#endif
