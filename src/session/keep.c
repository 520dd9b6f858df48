/* keep: how people write the time that an idle model stays. */
#include "hearth.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double unit_s(const char *at, size_t *len)
{
    static const struct {
        const char *name;
        double s;
    } units[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        *len = strlen(units[i].name);
        if (strncmp(at, units[i].name, *len) == 0)
            return units[i].s;
    }
    return -1;
}

int hearth_keep_parse(const char *text, int *out, struct err *e)
{
    static const double MOST_S = 1e9;
    const char *at = text;
    double sum = 0;
    bool minus = *at == '-';
    at += minus;
    while (*at >= '0' && *at <= '9') {
        char *end;
        double v = strtod(at, &end); /* begins with a digit: no sign, no "inf" */
        size_t len = 0;
        double s = *end ? unit_s(end, &len) : 1;
        if (s < 0 || (!*end && at != text + minus)) /* "1h30": 30 of what? */
            break;
        sum += v * s;
        at = end + len;
    }
    if (*at || at == text + minus || !(sum < MOST_S))
        return err_set(e, ERR_USAGE, "\"%.40s\" is no time to keep a model: 90, 90s, 5m, 2h, 0 or -1", text);
    *out = minus && sum > 0 ? HEARTH_KEEP_FOREVER : sum == 0 ? HEARTH_KEEP_NOT : (int)ceil(sum);
    return 0;
}
