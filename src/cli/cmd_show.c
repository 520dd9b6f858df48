/* hearth show: one model's metadata, from the store's JSON. */
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "store/store.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

struct values {
    const char *data_dir;
    bool json;
};
const struct opt show_opts[] = {OPT_ROW_JSON(struct values), OPT_ROW_DATA_DIR(struct values), OPT_END};

/* Values of the file may be long (templates) or hold line ends: one line each, cut with the length told. */
static void print_text(const char *s)
{
    enum { SHOWN = 100 };
    size_t n = strlen(s), i = 0;
    for (; i < n && i < SHOWN; i++) {
        unsigned char ch = (unsigned char)s[i];
        if (ch == '\n')
            fputs("\\n", stdout);
        else if (ch >= 0x20 && ch != 0x7f) /* a file must not steer the terminal */
            putchar(ch);
    }
    while (i < n && ((unsigned char)s[i] & 0xC0) == 0x80)
        putchar(s[i++]); /* the rest of the last character */
    if (i < n)
        printf("... (%zu bytes)", n);
    putchar('\n');
}

static void print_value(const cJSON *j)
{
    char s[OUT_SHORT];
    if (cJSON_IsString(j)) {
        print_text(j->valuestring);
    } else if (cJSON_IsNumber(j) && j->string && strcmp(j->string, "bytes") == 0) {
        printf("%s\n", out_bytes(s, (uint64_t)j->valuedouble));
    } else if (cJSON_IsArray(j) && cJSON_GetArraySize(j) > 8) {
        printf("%d elements\n", cJSON_GetArraySize(j));
    } else {
        char *text = cJSON_PrintUnformatted(j);
        print_text(text ? text : "?");
        cJSON_free(text);
    }
}

static void print_object(const cJSON *o, const char *indent)
{
    int width = 0;
    const cJSON *j;
    cJSON_ArrayForEach(j, o)
    {
        int n = (int)strlen(j->string);
        if (n > width && n < 44)
            width = n;
    }
    cJSON_ArrayForEach(j, o)
    {
        if (cJSON_IsObject(j)) {
            printf("%s%s:\n", indent, j->string);
            print_object(j, "  ");
        } else {
            printf("%s%-*s  ", indent, width, j->string);
            print_value(j);
        }
    }
}

int cmd_show(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct store *s;
    struct err e = {0};
    char *json = NULL;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (store_open(&s, v.data_dir, &e))
        return cli_fail(&e);
    code = CLI_OK;
    if (store_show(s, argv[0], &json, &e)) {
        code = cli_fail(&e);
    } else if (v.json) {
        printf("%s\n", json);
    } else {
        cJSON *o = cJSON_Parse(json);
        print_object(o, "");
        cJSON_Delete(o);
    }
    mem_free(json);
    store_close(s);
    return code;
}
