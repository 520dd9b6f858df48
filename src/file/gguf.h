/* gguf: the GGUF header in two passes. Private to file/.
 *
 * The header's size is written nowhere, so gguf_scan walks a window from the start of the file, allocates nothing, and says
 * either how long the header is or how many bytes it must see to go on. gguf_build then makes the tables; their strings and
 * arrays are views into the one copy of the header. */
#ifndef HEARTH_FILE_GGUF_H
#define HEARTH_FILE_GGUF_H
#include "file/file.h"
#include "file/names.h"

/* What the parser accepts; a file beyond these is refused by name, not by exhaustion. */
enum {
    GGUF_MAX_KV = 16384,
    GGUF_MAX_TENSORS = 131072,
    GGUF_MAX_KEY = 1024,         /* bytes of a key or a tensor name */
    GGUF_MAX_STRING = 16 << 20,  /* bytes of one string value */
    GGUF_MAX_HEADER = 512 << 20, /* bytes of the whole header */
    GGUF_MAX_ALIGNMENT = 1 << 20,
};

struct file_mem {
    struct arena arena;
    char *header; /* owned; every view points in here */
    size_t header_len;
    struct names kv_names, tensor_names;
};

/* 0: *need is the header's length. 1: at least *need bytes must be seen. Else an error. `file_size` bounds every claim. */
int gguf_scan(const void *p, size_t have, uint64_t file_size, uint64_t *need, struct err *e);
/* Fills kv, tensor, format and the indexes of f from f->mem->header, which gguf_scan has measured. */
int gguf_build(struct model_file *f, uint64_t file_size, struct err *e);

#endif
