/* opt: see opt.h. Owns parsing and help of options; knows no command. */
#include "cli/opt.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int opt_size(const char *text, uint64_t *out, struct err *e)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || errno || !(v >= 0) || strpbrk(text, "xXnN"))
        return err_set(e, ERR_USAGE, "'%s' is no size; write 8G, 512M or a number of bytes", text);
    double unit = 1;
    static const char units[] = "kmgt";
    if (*end) {
        const char *u = strchr(units, *end | 0x20);
        if (!u || !*u)
            return err_set(e, ERR_USAGE, "'%s' is no size; units are k, M, G and T", text);
        for (long i = 0; i <= u - units; i++)
            unit *= 1024;
        end++;
        if (*end == 'i')
            end++;
        if (*end == 'B' || *end == 'b')
            end++;
        if (*end)
            return err_set(e, ERR_USAGE, "'%s' is no size; units are k, M, G and T", text);
    }
    v *= unit;
    if (v >= 9.0e18)
        return err_set(e, ERR_USAGE, "'%s' is too large", text);
    *out = (uint64_t)v;
    return 0;
}

int opt_distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    size_t na = strlen(a), nb = strlen(b);
    if (na >= MAX || nb >= MAX)
        return 99;
    int d[MAX + 1][MAX + 1];
    for (size_t i = 0; i <= na; i++)
        d[i][0] = (int)i;
    for (size_t j = 0; j <= nb; j++)
        d[0][j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        for (size_t j = 1; j <= nb; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[na][nb];
}

const struct opt *opt_find(const struct opt *table, const char *name, size_t n)
{
    for (const struct opt *o = table; o && o->name; o++)
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
            return o;
    return NULL;
}

static const char *opt_near(const struct opt *table, const char *name)
{
    const char *best = NULL;
    int best_d = 3; /* two slips at most */
    for (const struct opt *o = table; o && o->name; o++) {
        int d = opt_distance(o->name, name);
        if (strlen(name) >= 3 && strncmp(o->name, name, strlen(name)) == 0)
            d = 1; /* an abbreviation */
        if (d < best_d) {
            best_d = d;
            best = o->name;
        }
    }
    return best;
}

static int check_range(const struct opt *o, double v, struct err *e)
{
    if ((o->min != 0 || o->max != 0) && !(v >= o->min && v <= o->max))
        return err_set(e, ERR_USAGE, "--%s takes %.15g to %.15g", o->name, o->min, o->max);
    return 0;
}

static int assign_number(const struct opt *o, const char *text, char *at, struct err *e)
{
    char *end;
    errno = 0;
    if (o->type == OPT_INT) {
        long v = strtol(text, &end, 10);
        if (end == text || *end || errno || v < INT_MIN || v > INT_MAX)
            return err_set(e, ERR_USAGE, "--%s wants a whole number, not '%s'", o->name, text);
        *(int *)at = (int)v;
        return check_range(o, (double)v, e);
    }
    if (o->type == OPT_FLOAT) {
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v))
            return err_set(e, ERR_USAGE, "--%s wants a number, not '%s'", o->name, text);
        *(float *)at = (float)v;
        return check_range(o, v, e);
    }
    struct opt_seed *s = (struct opt_seed *)at;
    s->v = strtoull(text, &end, 10);
    if (end == text || *end || errno || *text == '-')
        return err_set(e, ERR_USAGE, "--%s wants a whole number from 0 to 2^64-1, not '%s'", o->name, text);
    s->set = true;
    return 0;
}

static int assign_list(const struct opt *o, const char *text, struct opt_nums *list, struct err *e)
{
    struct opt_nums l = {0};
    const char *p = text;
    for (;;) {
        char word[40];
        size_t n = strcspn(p, ",");
        uint64_t v;
        if (n == 0 || n >= sizeof word || l.n == OPT_MANY)
            return err_set(e, ERR_USAGE, "--%s wants a list like 0,2k,8k, not '%s'", o->name, text);
        memcpy(word, p, n);
        word[n] = 0;
        int r = opt_size(word, &v, e);
        if (r || (r = check_range(o, (double)v, e)))
            return r;
        l.v[l.n++] = v;
        if (!p[n])
            break;
        p += n + 1;
    }
    *list = l;
    return 0;
}

int opt_assign(const struct opt *o, const char *text, void *values, struct err *e)
{
    char *at = (char *)values + o->at;
    switch (o->type) {
    case OPT_FLAG:
        *(bool *)at = true;
        return 0;
    case OPT_TEXT:
        *(const char **)at = text;
        return 0;
    case OPT_TEXTS: {
        struct opt_texts *t = (struct opt_texts *)at;
        if (t->n == OPT_MANY)
            return err_set(e, ERR_USAGE, "--%s may be given %d times at most", o->name, OPT_MANY);
        t->v[t->n++] = text;
        return 0;
    }
    case OPT_SIZE: {
        uint64_t v;
        int r = opt_size(text, &v, e);
        if (!r && !(r = check_range(o, (double)v, e)))
            *(size_t *)at = (size_t)v;
        return r;
    }
    case OPT_NUMS:
        return assign_list(o, text, (struct opt_nums *)at, e);
    default:
        return assign_number(o, text, at, e);
    }
}

static void help_row(const char *left, const char *help)
{
    enum { COLUMN = 26 };
    if (strlen(left) < COLUMN - 1)
        printf("  %-*s%s\n", COLUMN, left, help);
    else
        printf("  %s\n  %-*s%s\n", left, COLUMN, "", help);
}

void opt_help(const struct command *c)
{
    printf("hearth %s: %s\n\nusage: hearth %s%s%s\n", c->name, c->help, c->name, *c->usage ? " " : "", c->usage);
    printf("\noptions:\n");
    for (const struct opt *o = c->opts; o && o->name; o++) {
        char left[80];
        char letter[8] = "";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        help_row(left, o->help);
    }
    help_row("-h, --help", "this text");
    if (c->examples && *c->examples)
        printf("\nexamples:\n%s", c->examples);
}

static int bad_option(const struct command *c, const char *word, const char *name)
{
    const char *near = opt_near(c->opts, name);
    if (near)
        return cli_error(CLI_USAGE, "unknown option '%s' for '%s'; did you mean --%s?", word, c->name, near);
    return cli_error(CLI_USAGE, "unknown option '%s' for '%s'; see: hearth help %s", word, c->name, c->name);
}

/* One option at argv[i]; returns how many words it took, or -1 after telling what is wrong. */
static int take_option(const struct command *c, int argc, char **argv, int i, void *values)
{
    const char *word = argv[i], *value = NULL;
    const struct opt *o = NULL;
    struct err e;
    if (word[1] == '-') {
        size_t n = strcspn(word + 2, "=");
        o = opt_find(c->opts, word + 2, n);
        value = word[2 + n] ? word + 3 + n : NULL;
        if (!o) {
            char name[48];
            snprintf(name, sizeof name, "%.*s", (int)(n > 40 ? 40 : n), word + 2);
            bad_option(c, word, name);
            return -1;
        }
    } else {
        for (o = c->opts; o && o->name && o->letter != word[1]; o++)
            ;
        if (!o || !o->name) {
            bad_option(c, word, word + 1);
            return -1;
        }
        value = word[2] ? word + 2 : NULL;
    }
    int used = 1;
    if (o->type == OPT_FLAG) {
        if (value) {
            cli_error(CLI_USAGE, "--%s takes no value; see: hearth help %s", o->name, c->name);
            return -1;
        }
    } else if (!value) {
        if (i + 1 >= argc) {
            cli_error(CLI_USAGE, "--%s wants a value (%s); see: hearth help %s", o->name, o->arg, c->name);
            return -1;
        }
        value = argv[i + 1];
        used = 2;
    }
    if (opt_assign(o, value, values, &e)) {
        cli_error(CLI_USAGE, "%s; see: hearth help %s", e.msg, c->name);
        return -1;
    }
    return used;
}

int opt_parse(const struct command *c, int *argc, char **argv, void *values)
{
    int n = 0;
    bool only_words = false;
    for (int i = 0; i < *argc;) {
        char *w = argv[i];
        if (only_words || w[0] != '-' || !w[1]) {
            argv[n++] = w;
            i++;
        } else if (strcmp(w, "--") == 0) {
            only_words = true;
            i++;
        } else if (strcmp(w, "--help") == 0 || strcmp(w, "-h") == 0) {
            opt_help(c);
            return CLI_OK;
        } else {
            int used = take_option(c, *argc, argv, i, values);
            if (used < 0)
                return CLI_USAGE;
            i += used;
        }
    }
    if (n < c->min_args)
        return cli_error(CLI_USAGE, "'%s' wants %s; see: hearth help %s", c->name, c->usage, c->name);
    if (c->max_args >= 0 && n > c->max_args)
        return cli_error(CLI_USAGE, "'%s' does not know what to do with '%s'; see: hearth help %s", c->name,
                         argv[c->max_args], c->name);
    *argc = n;
    return OPT_RUN;
}
