/* pip: see pip.h. pip knows the user's index, proxy and mirrors, so it does the fetching; this file starts it, watches the
 * wheel grow, and does not leave it running: cancelling ends its whole process group, and when we are killed the kernel
 * kills it. */
#include "store/pip.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIP_LAUNCHERS = 3, PIP_DEPTH = 8, PIP_ARGS = 16 };

extern char **environ;

/* Bytes of the largest file below dir (pip moves the wheel about, so two copies may be seen at once); with `wheel` also the
 * path of the one *.whl. */
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
            bytes = S_ISDIR(st.st_mode) && depth ? dir_bytes(p, depth - 1, NULL)
                    : S_ISREG(st.st_mode)        ? (uint64_t)st.st_size
                                                 : 0;
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

void pip_remove_tree(const char *path, int depth)
{
    DIR *d = depth ? opendir(path) : NULL;
    for (struct dirent *x; d && (x = readdir(d));) {
        struct stat st;
        if (!strcmp(x->d_name, ".") || !strcmp(x->d_name, ".."))
            continue;
        char *p = fs_join(path, x->d_name);
        if (p && !lstat(p, &st) && S_ISDIR(st.st_mode))
            pip_remove_tree(p, depth - 1);
        else if (p)
            unlink(p);
        mem_free(p);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

/* Runs in the child between fork and exec: only calls that are safe there. */
static void child_exec(const char *const argv[], char *const env[], int log, pid_t parent)
{
    union {
        const char *const *in;
        char *const *out;
    } args = {argv}; /* exec promises not to write */
    int null = open("/dev/null", O_RDONLY);
    setpgid(0, 0); /* a Ctrl-C reaches us alone, and we end the whole group */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* died before the line above */
        _exit(127);
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    execvpe(argv[0], args.out, env);
    _exit(127);
}

/* Our environment with TMPDIR inside pip's folder: then progress can be seen, and a cut leaves nothing elsewhere. */
static char **child_env(const char *dir)
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

static int child_start(struct pip *p, const char *const argv[], struct err *e)
{
    char *log_path = fs_join(p->dir, "log"), **env = child_env(p->dir);
    int log = log_path ? open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1, rc = 0;
    pid_t pid = -1, parent = getpid();
    if (!log_path || !env)
        rc = err_set(e, ERR_NOMEM, "out of memory to start pip");
    else if (log < 0 || (pid = fork()) < 0)
        rc = err_errno(e, "cannot start pip");
    if (pid == 0)
        child_exec(argv, env, log, parent);
    if (pid > 0) {
        setpgid(pid, pid); /* whoever comes first */
        p->pid = pid;
    }
    if (log >= 0)
        close(log);
    if (env)
        mem_free(env[0]);
    mem_free(env);
    mem_free(log_path);
    return rc;
}

/* pip is found as `python3 -m pip`, else as a command. */
static int pip_launch(struct pip *p, struct err *e)
{
    static const char *const launch[PIP_LAUNCHERS][3] = {
        {"python3", "-m", "pip"}, {"pip3", NULL, NULL}, {"pip", NULL, NULL}};
    /* wheels only: a source package would run its own code here */
    static const char *const fixed[] = {
        "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--no-input", "--disable-pip-version-check",
        "-q",       "-d"};
    const char *argv[PIP_ARGS];
    int n = 0;
    for (int k = 0; k < 3 && launch[p->launcher][k]; k++)
        argv[n++] = launch[p->launcher][k];
    for (size_t k = 0; k < sizeof fixed / sizeof *fixed; k++)
        argv[n++] = fixed[k];
    argv[n++] = p->dir;
    argv[n++] = p->requirement;
    argv[n] = NULL;
    p->bytes = 0;
    p->moved = clock_s();
    return child_start(p, argv, e);
}

int pip_begin(struct pip *p, const char *dir, const char *requirement, struct err *e)
{
    *p = (struct pip){.dir = mem_strdup(dir)};
    if (!p->dir)
        return err_set(e, ERR_NOMEM, "out of memory");
    snprintf(p->requirement, sizeof p->requirement, "%s", requirement);
    int rc = fs_mkdirs(dir, e);
    return rc ? rc : pip_launch(p, e);
}

/* pip's own last word, for the message. */
static void pip_said(const char *dir, char *out, size_t size)
{
    char *path = fs_join(dir, "log"), *text = NULL, *rest = NULL;
    snprintf(out, size, "no message");
    if (path && !fs_read_all(path, 1 << 20, &text, NULL, NULL)) {
        const char *best = NULL;
        for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest))
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

/* The child ended with `status`: 1, an error, or 0 when the next way of starting pip is being tried. */
static int pip_ended(struct pip *p, int status, struct err *e)
{
    char said[240];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 1;
    pip_said(p->dir, said, sizeof said);
    bool missing = (WIFEXITED(status) && WEXITSTATUS(status) == 127) || strstr(said, "No module named pip");
    if (missing && ++p->launcher < PIP_LAUNCHERS)
        return pip_launch(p, e);
    if (missing)
        return err_set(e, ERR_NOTFOUND,
                       "Python's pip is needed for this source and is not installed: apt install python3-pip");
    if (strstr(said, "No space left"))
        return err_set(e, ERR_DISK_FULL, "the disk is full: pip could not write %s", p->dir);
    return err_set(e, ERR_NET, "pip could not fetch %s: %s", p->requirement, said);
}

int pip_poll(struct pip *p, int stall_s, struct err *e)
{
    int status = 0;
    if (!p->pid)
        return 1;
    pid_t r = waitpid(p->pid, &status, WNOHANG);
    if (r == p->pid) {
        p->pid = 0;
        return pip_ended(p, status, e);
    }
    if (r < 0 && errno != EINTR)
        return err_errno(e, "cannot wait for pip");
    uint64_t now = dir_bytes(p->dir, 3, NULL);
    if (now != p->bytes)
        p->moved = clock_s();
    p->bytes = now;
    if (clock_s() - p->moved > stall_s)
        return err_set(e, ERR_NET, "pip has brought nothing for %d s", stall_s);
    return 0;
}

char *pip_wheel(const struct pip *p, struct err *e)
{
    char *wheel = NULL;
    dir_bytes(p->dir, 0, &wheel);
    if (!wheel)
        err_set(e, ERR_FORMAT, "pip brought no wheel for %s", p->requirement);
    return wheel;
}

void pip_end(struct pip *p)
{
    if (p->pid) {
        kill(-p->pid, SIGTERM);
        for (int i = 0; i < 40 && waitpid(p->pid, NULL, WNOHANG) == 0; i++)
            usleep(25000);
        kill(-p->pid, SIGKILL); /* the group's last members; our child, if it would not listen */
        waitpid(p->pid, NULL, 0);
    }
    if (p->dir)
        pip_remove_tree(p->dir, PIP_DEPTH);
    mem_free(p->dir);
    *p = (struct pip){0};
}
