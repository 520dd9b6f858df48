/* line: see line.h. libedit does the editing; its reads go through line_char, which waits for a key and a signal in one
 * step: a Ctrl-C between the prompt and the read would otherwise wait for the next key. */
#include "cli/line.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/cli.h"
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES = 1000 };

struct line_reader {
    EditLine *el;
    History *history;
    char *file;
    const char *prompt;
};

static char *prompt_of(EditLine *el)
{
    struct line_reader *l = NULL;
    el_get(el, EL_CLIENTDATA, &l);
    return (char *)l->prompt;
}

static int line_char(EditLine *el, wchar_t *out)
{
    mbstate_t state;
    sigset_t open;
    memset(&state, 0, sizeof state);
    pthread_sigmask(SIG_SETMASK, NULL, &open);
    sigdelset(&open, SIGINT);
    sigdelset(&open, SIGTERM);
    (void)el;
    for (;;) {
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        char c;
        if (cli_interrupted() || (ppoll(&p, 1, NULL, &open) < 0 && errno == EINTR && cli_interrupted()))
            return -1;
        if (!p.revents)
            continue;
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n <= 0)
            return (int)n;
        size_t r = mbrtowc(out, &c, 1, &state);
        if (r == (size_t)-1) /* no UTF-8: drop it and start over */
            memset(&state, 0, sizeof state);
        else if (r != (size_t)-2)
            return 1;
    }
}

static void use_utf8(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

int line_open(struct line_reader **out, const char *data_dir, struct err *e)
{
    char *dir = NULL;
    HistEvent ev;
    if (!data_dir) {
        int r = fs_data_dir(&dir, e);
        if (r)
            return r;
    }
    use_utf8();
    struct line_reader *l = mem_calloc(1, sizeof *l);
    if (l) {
        l->file = fs_join(data_dir ? data_dir : dir, "history");
        l->history = history_init();
        l->el = el_init("hearth", stdin, stdout, stderr);
    }
    mem_free(dir);
    if (!l || !l->file || !l->history || !l->el) {
        line_close(l);
        return err_set(e, ERR_NOMEM, "cannot set up the terminal");
    }
    history(l->history, &ev, H_SETSIZE, HISTORY_LINES);
    history(l->history, &ev, H_SETUNIQUE, 1);
    history(l->history, &ev, H_LOAD, l->file);
    el_set(l->el, EL_CLIENTDATA, l);
    el_set(l->el, EL_PROMPT, prompt_of);
    el_set(l->el, EL_EDITOR, "emacs");
    el_set(l->el, EL_GETCFN, line_char);
    el_set(l->el, EL_HIST, history, l->history);
    el_source(l->el, NULL); /* the user's ~/.editrc */
    *out = l;
    return 0;
}

/* One line without its end; NULL with *interrupted telling Ctrl-C from Ctrl-D. */
static char *read_one(struct line_reader *l, const char *prompt, bool *interrupted)
{
    int n = 0;
    l->prompt = prompt;
    el_resize(l->el); /* the window may have another size by now */
    cli_hold_interrupt(true);
    const char *s = el_gets(l->el, &n);
    cli_hold_interrupt(false);
    *interrupted = cli_interrupted();
    cli_clear_interrupt();
    if (*interrupted || !s || n <= 0) {
        printf("\n");
        el_reset(l->el);
        return NULL;
    }
    size_t len = (size_t)n;
    while (len && (s[len - 1] == '\n' || s[len - 1] == '\r'))
        len--;
    return mem_strndup(s, len);
}

/* Adds lines to b until the message is complete. 1: more lines wanted. */
static int add_line(struct buf *b, const char *s, bool *quoted)
{
    size_t n = strlen(s);
    if (b->len == 0 && !*quoted && n >= 3 && memcmp(s, "\"\"\"", 3) == 0) {
        *quoted = true;
        s += 3;
        n -= 3;
        if (!n)
            return 1;
    }
    if (*quoted && n >= 3 && memcmp(s + n - 3, "\"\"\"", 3) == 0) {
        buf_add(b, s, n - 3);
        return 0;
    }
    bool more = !*quoted && n && s[n - 1] == '\\';
    buf_add(b, s, more ? n - 1 : n);
    if (more || *quoted)
        buf_char(b, '\n');
    return more || *quoted;
}

char *line_read(struct line_reader *l)
{
    struct buf b = {0};
    bool quoted = false, interrupted;
    const char *prompt = ">>> ";
    for (;;) {
        char *s = read_one(l, prompt, &interrupted);
        if (!s && !interrupted) {
            buf_done(&b);
            return NULL;
        }
        if (!s) { /* Ctrl-C: the message is dropped */
            buf_reset(&b);
            quoted = false;
            prompt = ">>> ";
            continue;
        }
        HistEvent ev;
        if (*s)
            history(l->history, &ev, H_ENTER, s);
        int more = add_line(&b, s, &quoted);
        mem_free(s);
        if (!more)
            return buf_take(&b);
        prompt = "... ";
    }
}

void line_close(struct line_reader *l)
{
    HistEvent ev;
    if (!l)
        return;
    if (l->history && l->file && l->el) {
        mode_t old = umask(077);
        history(l->history, &ev, H_SAVE, l->file);
        umask(old);
    }
    if (l->el)
        el_end(l->el);
    if (l->history)
        history_end(l->history);
    mem_free(l->file);
    mem_free(l);
}
