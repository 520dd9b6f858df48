/* out: see out.h. */
#include "cli/out.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char *out_bytes(char s[OUT_SHORT], uint64_t n)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n;
    int u = 0;
    while (v >= 1000 && u < 4) {
        v /= 1024;
        u++;
    }
    snprintf(s, OUT_SHORT, u == 0 || v >= 100 ? "%.0f %s" : v >= 10 ? "%.1f %s" : "%.2f %s", v, unit[u]);
    return s;
}

const char *out_time(char s[OUT_SHORT], double seconds)
{
    unsigned t = seconds < 0 ? 0 : seconds > 1e9 ? 1000000000 : (unsigned)(seconds + 0.5);
    if (t < 60)
        snprintf(s, OUT_SHORT, "%u s", t);
    else if (t < 3600)
        snprintf(s, OUT_SHORT, "%u min %02u s", t / 60, t % 60);
    else
        snprintf(s, OUT_SHORT, "%u h %02u min", t / 3600, t / 60 % 60);
    return s;
}

int out_json(struct buf *b)
{
    int code = CLI_OK;
    buf_char(b, '\n');
    if (b->failed)
        code = cli_error(CLI_FAILED, "out of memory; close other programs and try again");
    else
        fwrite(b->data, 1, b->len, stdout);
    fflush(stdout);
    buf_done(b);
    return code;
}

void out_table_init(struct out_table *t, const char *const *columns, int n)
{
    *t = (struct out_table){.n_columns = n};
    buf_init(&t->cells);
    for (int i = 0; i < n; i++)
        out_table_cell(t, "%s", columns[i]);
}

void out_table_cell(struct out_table *t, const char *fmt, ...)
{
    char s[400];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(s, sizeof s, fmt, ap);
    va_end(ap);
    buf_add(&t->cells, s, n < 0 ? 0 : (size_t)n >= sizeof s ? sizeof s - 1 : (size_t)n);
    buf_char(&t->cells, 0);
    t->n_cells++;
}

/* Characters, not bytes: continuation bytes of UTF-8 take no column. */
static int width_of(const char *s)
{
    int w = 0;
    for (; *s; s++)
        w += ((unsigned char)*s & 0xC0) != 0x80;
    return w;
}

void out_table_print(struct out_table *t)
{
    int width[OUT_COLUMNS] = {0};
    bool right[OUT_COLUMNS] = {false};
    if (t->cells.failed || !t->cells.data) {
        buf_done(&t->cells);
        return;
    }
    const char *p = t->cells.data;
    for (size_t i = 0; i < t->n_cells; i++, p += strlen(p) + 1) {
        int c = (int)(i % (size_t)t->n_columns);
        if (i < (size_t)t->n_columns)
            right[c] = *p == '>';
        int w = width_of(p) - (i < (size_t)t->n_columns && right[c]);
        if (w > width[c])
            width[c] = w;
    }
    p = t->cells.data;
    for (size_t i = 0; i < t->n_cells; i++, p += strlen(p) + 1) {
        int c = (int)(i % (size_t)t->n_columns);
        const char *s = p + (i < (size_t)t->n_columns && right[c]);
        bool last = c == t->n_columns - 1;
        int pad = width[c] - width_of(s);
        if (right[c])
            printf("%*s%s", pad, "", s);
        else
            printf("%s%*s", s, last ? 0 : pad, "");
        fputs(last ? "\n" : "  ", stdout);
    }
    buf_done(&t->cells);
}

void out_progress_init(struct out_progress *p, bool quiet)
{
    *p = (struct out_progress){
        .tty = isatty(STDERR_FILENO) == 1, .quiet = quiet, .started = clock_s(), .last_percent = -1};
}

static void draw_bar(const char *label, const char *stage, double share, const char *right)
{
    struct winsize ws;
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 20 ? ws.ws_col : 80;
    int room = columns - width_of(label) - width_of(stage) - width_of(right) - 6;
    char bar[64] = "";
    if (room >= 8 && share >= 0) { /* negative: not known */
        int n = room > 40 ? 40 : room, full = (int)(share * n);
        for (int i = 0; i < n; i++)
            bar[i] = i < full ? '=' : i == full ? '>' : ' ';
        bar[n] = 0;
    }
    fprintf(stderr, "\r\033[K%s %s %s%s%s%s", label, stage, *bar ? "[" : "", bar, *bar ? "] " : "", right);
}

void out_progress_show(struct out_progress *p, const char *label, const char *stage, uint64_t done, uint64_t total,
                       double bytes_per_s, double eta_s)
{
    double now = clock_s();
    bool new_stage = strcmp(p->stage, stage) != 0;
    int percent = total ? (int)((double)done * 100 / (double)total) : 0;
    bool finished = total && done >= total && percent != p->last_percent;
    if (p->quiet || (!new_stage && !finished && now - p->last < (p->tty ? 0.1 : 10)))
        return;
    p->last = now;
    p->last_percent = percent;
    snprintf(p->stage, sizeof p->stage, "%s", stage);
    char a[OUT_SHORT], b[OUT_SHORT], c[OUT_SHORT], d[OUT_SHORT], right[160] = "";
    size_t n = 0;
    if (total)
        n += (size_t)snprintf(right, sizeof right, "%3d %% %s of %s", percent, out_bytes(a, done), out_bytes(b, total));
    else if (done)
        n += (size_t)snprintf(right, sizeof right, "%s", out_bytes(a, done));
    if (bytes_per_s > 0 && n < sizeof right)
        n += (size_t)snprintf(right + n, sizeof right - n, ", %s/s", out_bytes(c, (uint64_t)bytes_per_s));
    if (bytes_per_s > 0 && eta_s >= 0 && total && n < sizeof right)
        snprintf(right + n, sizeof right - n, ", %s left", out_time(d, eta_s));
    if (p->tty)
        draw_bar(label, stage, total ? (double)done / (double)total : -1, right);
    else
        fprintf(stderr, "%s: %s%s%s\n", label, stage, *right ? " " : "", right);
    p->shown = true;
}

void out_progress_end(struct out_progress *p)
{
    if (p->shown && p->tty && !p->quiet)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
