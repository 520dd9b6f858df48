/* input: see input.h. */
#include "cli/input.h"
#include "cli/cli.h"
#include "store/store.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_LIMIT = 64 << 20 };

static int read_stdin(struct buf *b, struct err *e)
{
    char part[16384];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, part, sizeof part);
        if (n == 0)
            return b->failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
        if (n < 0 && errno == EINTR && !cli_interrupted())
            continue;
        if (n < 0)
            return cli_interrupted() ? err_set(e, ERR_CANCELLED, "interrupted")
                                     : err_errno(e, "cannot read standard input");
        if (b->len + (size_t)n > INPUT_LIMIT)
            return err_set(e, ERR_LIMIT, "the text is longer than %d MiB; shorten it", INPUT_LIMIT >> 20);
        buf_add(b, part, (size_t)n);
    }
}

int input_words(int argc, char **argv, struct buf *out, struct err *e)
{
    if (argc == 0)
        return read_stdin(out, e);
    for (int i = 0; i < argc; i++) {
        bool in = strcmp(argv[i], "-") == 0, after_in = i && strcmp(argv[i - 1], "-") == 0;
        if (i)
            buf_str(out, in || after_in ? "\n\n" : " ");
        if (!in)
            buf_str(out, argv[i]);
        int r = in ? read_stdin(out, e) : 0;
        if (r)
            return r;
    }
    return out->failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

int input_model_path(const char *data_dir, const char *name, char **path, struct err *e)
{
    struct store *s;
    int r = store_open(&s, data_dir, e);
    if (r)
        return r;
    r = store_path(s, name, path, e);
    store_close(s);
    return r;
}
