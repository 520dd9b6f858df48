/* name: see name.h. Pure functions over strings. */
#include "store/name.h"
#include "store/catalogue.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

int name_clean(const char *name, char out[NAME_SIZE], struct err *e)
{
    size_t n = strlen(name), colons = 0;
    if (n == 0 || n >= NAME_SIZE)
        return err_set(e, ERR_USAGE, "a model name has 1 to %d characters", NAME_SIZE - 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        bool edge = i == 0 || name[i - 1] == ':';
        if (c == ':' ? colons++ || edge || i + 1 == n : !(isalnum(c) && c < 128) && (edge || !strchr("._-", c)))
            return err_set(
                e, ERR_USAGE,
                "\"%.80s\" is no model name: letters, digits, '.', '_' and '-', then perhaps a colon and a tag", name);
        out[i] = (char)tolower(c);
    }
    out[n] = 0;
    return 0;
}

void name_derive(const char *file, char out[NAME_SIZE])
{
    const char *slash = strrchr(file, '/'), *p = slash ? slash + 1 : file;
    size_t n = strcspn(p, "?#"), k = 0;
    if (n > 5 && strncasecmp(p + n - 5, ".gguf", 5) == 0)
        n -= 5;
    for (size_t i = 0; i < n && k < 64; i++) {
        unsigned char c = (unsigned char)p[i];
        char x = c < 128 && (isalnum(c) || strchr("._-", c)) ? (char)tolower(c) : '-';
        if (k || isalnum((unsigned char)x))
            out[k++] = x;
    }
    out[k] = 0;
    strcat(k ? out : strcpy(out, "model"), ":latest");
}

bool name_is_path(const char *name)
{
    size_t n = strlen(name);
    return strchr(name, '/') || (n > 5 && strcasecmp(name + n - 5, ".gguf") == 0);
}

/* Levenshtein's distance, two rows; names are short. */
static int distance(const char *a, const char *b)
{
    int row[NAME_SIZE + 1];
    int nb = (int)strlen(b);
    for (int j = 0; j <= nb; j++)
        row[j] = j;
    for (int i = 1; *a; i++, a++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int change = diagonal + (*a != b[j - 1]), drop = row[j] + 1, add = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < drop ? change : drop;
            row[j] = row[j] < add ? row[j] : add;
        }
    }
    return row[nb];
}

/* How unlike: 0 same, 100 nothing in common. A part of the name, or the name without its tag, counts as near. */
static int unlike(const char *q, const char *name)
{
    char base[NAME_SIZE];
    snprintf(base, sizeof base, "%.*s", (int)strcspn(name, ":"), name);
    int d = distance(q, name), b = distance(q, base);
    d = b < d ? b : d;
    if (strlen(q) >= 3 && strstr(name, q))
        d = 1;
    size_t n = strlen(q);
    return d <= 2 || (size_t)d * 3 <= n ? d : 100;
}

static int not_found(const char *q, const struct store_model *m, size_t n, struct err *e)
{
    char near[3 * NAME_SIZE + 16] = "";
    int found = 0;
    for (int d = 0; d < 100 && found < 3; d++)
        for (size_t i = 0; i < n && found < 3; i++)
            if (unlike(q, m[i].name) == d) {
                size_t at = strlen(near);
                snprintf(near + at, sizeof near - at, "%s%s", found++ ? ", " : "", m[i].name);
            }
    if (found)
        return err_set(e, ERR_NOTFOUND, "no model is called %s; did you mean %s?", q, near);
    return err_set(e, ERR_NOTFOUND, "no model is called %s; `hearth list --all` shows those that are known", q);
}

static bool has_base(const char *name, const char *base)
{
    size_t n = strlen(base);
    return strncmp(name, base, n) == 0 && name[n] == ':';
}

int name_pick(const char *name, const struct store_model *m, size_t n, size_t *pick, struct err *e)
{
    char q[NAME_SIZE];
    size_t rows;
    const struct catalogue_row *row = catalogue_rows(&rows);
    int rc = name_clean(name, q, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        if (strcmp(m[i].name, q) == 0)
            return (void)(*pick = i), 0;
    /* A bare name: the catalogue's order among installed tags, then any installed tag, then the catalogue's first. */
    for (int wanted = 1; !strchr(q, ':') && wanted >= 0; wanted--) {
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < n; i++)
                if (has_base(row[r].name, q) && m[i].installed == wanted && strcmp(m[i].name, row[r].name) == 0)
                    return (void)(*pick = i), 0;
        for (size_t i = 0; i < n; i++)
            if (has_base(m[i].name, q) && m[i].installed == wanted)
                return (void)(*pick = i), 0;
    }
    return not_found(q, m, n, e);
}
