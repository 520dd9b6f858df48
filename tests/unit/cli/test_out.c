/* What people read: sizes, times, and the state file that commands find a server by. */
#include "base/fs.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/out.h"
#include "unit/check.h"
#include "unit/folder.h"
#include <sys/stat.h>
#include <unistd.h>

static void bytes(void)
{
    char s[OUT_SHORT];
    CHECK_STR(out_bytes(s, 0), "0 B");
    CHECK_STR(out_bytes(s, 999), "999 B");
    CHECK_STR(out_bytes(s, 1000), "0.98 KiB");
    CHECK_STR(out_bytes(s, 98362432), "93.8 MiB");
    CHECK_STR(out_bytes(s, 1117320768), "1.04 GiB");
    CHECK_STR(out_bytes(s, UINT64_MAX), "16777216 TiB");
}

static void times(void)
{
    char s[OUT_SHORT];
    CHECK_STR(out_time(s, -1), "0 s");
    CHECK_STR(out_time(s, 41.4), "41 s");
    CHECK_STR(out_time(s, 125), "2 min 05 s");
    CHECK_STR(out_time(s, 11400), "3 h 10 min");
    CHECK(strlen(out_time(s, 1e300)) < OUT_SHORT);
}

static void state_file(void)
{
    const char *dir = folder_make("state");
    struct client *c = NULL;
    struct err e;
    struct stat st;
    CHECK_INT(client_find(dir, &c, &e), ERR_NOTFOUND);
    CHECK_INT(client_state_write(dir, "http://127.0.0.1:1", "a \"key\"", &e), 0); /* nobody listens on port 1 */
    char *path = fs_join(dir, "server.json");
    CHECK(path && stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK_INT(client_find(dir, &c, &e), ERR_NOTFOUND);
    CHECK(strstr(e.msg, "http://127.0.0.1:1") != NULL);
    client_state_remove(dir);
    CHECK(access(path, F_OK) != 0);
    CHECK_INT(fs_write_atomic(path, "{\"url\":\"u\",\"pid\":1}", 19, &e), 0);
    client_state_remove(dir); /* another process's: stays */
    CHECK(access(path, F_OK) == 0);
    folder_remove(dir);
    mem_free(path);
}

int main(void)
{
    RUN(bytes);
    RUN(times);
    RUN(state_file);
    return check_done();
}
