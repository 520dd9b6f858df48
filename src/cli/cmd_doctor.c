/* hearth doctor: what this machine offers, what is wrong, what to do. Owns the findings; kernels are tested in doctor_kernels.c,
 * the roof is measured in doctor_roof.c. */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/topo.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "cli/out.h"
#include "hearth.h"
#include "kernel/kernel.h"
#include "ledger/ledger.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct values {
    const char *data_dir, *cpu_mask;
    size_t ceiling;
    bool json;
};
const struct opt doctor_opts[] = {
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_CEILING(struct values),
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

enum { PROBLEMS = 16 };
struct report {
    struct kernels k;
    struct doctor_kernel kernel[DOCTOR_KERNELS];
    int n_kernels;
    double kernels_s;
    struct doctor_roof roof;
    struct topo topo;
    struct cpu_memory memory;
    size_t ceiling;
    uint64_t disk_free;
    char *dir, *server;
    char huge[16], governor[24], python[120], pip[120];
    bool virtual_machine;
    struct problem {
        bool error; /* else a warning */
        char text[300];
    } problem[PROBLEMS];
    int n_problems;
};

static void problem(struct report *r, bool error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void problem(struct report *r, bool error, const char *fmt, ...)
{
    va_list ap;
    if (r->n_problems == PROBLEMS)
        return;
    struct problem *p = &r->problem[r->n_problems++];
    p->error = error;
    va_start(ap, fmt);
    vsnprintf(p->text, sizeof p->text, fmt, ap);
    va_end(ap);
}

/* First line of a small file of /sys or /proc; "" if it is not there. */
static void read_line(const char *path, char *out, size_t n)
{
    FILE *f = fopen(path, "re");
    out[0] = 0;
    if (!f)
        return;
    if (!fgets(out, (int)n, f))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    fclose(f);
}

static void find_program(const char *name, char *out, size_t n)
{
    const char *path = getenv("PATH");
    out[0] = 0;
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t len = strcspn(p, ":");
        snprintf(out, n, "%.*s/%s", (int)len, p, name);
        if (len && access(out, X_OK) == 0)
            return;
        out[0] = 0;
        p += len + (p[len] == ':');
    }
}

static void look_at_kernels(struct report *r, unsigned mask)
{
    struct err e;
    unsigned have = cpu_features();
    kernels_init(&r->k, have & mask);
    double from = clock_s();
    r->n_kernels = doctor_kernels(&r->k, r->kernel, &e);
    r->kernels_s = clock_s() - from;
    if (r->n_kernels < 0)
        problem(r, true, "%s", e.msg);
    for (int i = 0; i < r->n_kernels; i++)
        if (!r->kernel[i].ok)
            problem(
                r, true,
                "kernel %s of level %s differs from the reference; run with --cpu-mask ref and report this machine (%s)",
                r->kernel[i].name, r->k.level, cpu_model());
#if defined(__x86_64__)
    if (!(have & CPU_AVX2) && (mask & CPU_AVX2))
        problem(r, false,
                "no AVX2 here: the plain C kernels answer 10 to 30 times slower; use a processor from 2014 or later, "
                "or pass the host's features on to this virtual machine");
    else if (!(have & mask & CPU_AVX2))
        problem(
            r, false,
            "AVX2 is masked out: the plain C kernels answer 10 to 30 times slower; drop --cpu-mask and $HEARTH_CPU_MASK");
#else
    if (strcmp(r->k.level, "ref") == 0)
        problem(
            r, false,
            "only the plain C kernels exist for this processor: answers are right, but 10 to 30 times slower than they could be");
#endif
}

static void look_at_memory(struct report *r, size_t ceiling)
{
    struct ledger *l = NULL;
    struct err e;
    char a[OUT_SHORT];
    if (cpu_memory_read(&r->memory))
        problem(r, false, "cannot read how much memory there is; give --ceiling");
    if (ledger_new(&l, ceiling, &e)) {
        problem(r, true, "%s", e.msg);
    } else {
        r->ceiling = ledger_ceiling(l);
        if (r->ceiling < (512u << 20))
            problem(r, false, "only %s may be used for models; close other programs", out_bytes(a, r->ceiling));
        ledger_free(l);
    }
}

static void look_at_disk(struct report *r, const char *dir)
{
    struct err e;
    char a[OUT_SHORT];
    if (dir && !(r->dir = mem_strdup(dir)))
        problem(r, true, "out of memory");
    else if (dir && fs_mkdirs(dir, &e))
        problem(r, true, "%s", e.msg);
    else if (!dir && fs_data_dir(&r->dir, &e))
        problem(r, true, "%s", e.msg);
    if (!r->dir)
        return;
    if (access(r->dir, W_OK))
        problem(r, true, "the data folder %s cannot be written; set $HEARTH_HOME or mend its permissions", r->dir);
    if (fs_free_bytes(r->dir, &r->disk_free, &e))
        problem(r, true, "%s", e.msg);
    else if (r->disk_free < (2ull << 30))
        problem(r, false, "only %s free in %s; a model takes 0.1 to 1.1 GB: hearth rm NAME, or set $HEARTH_HOME",
                out_bytes(a, r->disk_free), r->dir);
}

static void look_at_machine(struct report *r)
{
    char line[200];
    topo_here(&r->topo);
    read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line);
    char *open = strchr(line, '['), *shut = open ? strchr(open, ']') : NULL;
    if (shut)
        snprintf(r->huge, sizeof r->huge, "%.*s", (int)(shut - open - 1), open + 1);
    if (strcmp(r->huge, "never") == 0)
        problem(r, false,
                "huge pages are off: expect a few percent less speed; as root: "
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", r->governor, sizeof r->governor);
    if (strcmp(r->governor, "powersave") == 0) {
        read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", line, sizeof line);
        if (strncmp(line, "intel_pstate", 12) != 0 && strncmp(line, "amd-pstate", 10) != 0) /* theirs is no brake */
            problem(r, false, "the CPU governor is powersave; as root: cpupower frequency-set -g performance");
    }
    FILE *f = fopen("/proc/cpuinfo", "re");
    char big[4096];
    while (f && fgets(big, sizeof big, f))
        if (strncmp(big, "flags", 5) == 0) {
            r->virtual_machine = strstr(big, " hypervisor") != NULL;
            break;
        }
    if (f)
        fclose(f);
    find_program("python3", r->python, sizeof r->python);
    find_program("pip3", r->pip, sizeof r->pip);
    if (!r->pip[0])
        find_program("pip", r->pip, sizeof r->pip);
    if (!r->python[0] || !r->pip[0])
        problem(r, false,
                "no %s: models that come as Python packages cannot be pulled; install python3 and python3-pip",
                r->python[0] ? "pip" : "python3");
}

static void look_at_server(struct report *r, const char *dir)
{
    struct client *c;
    if (client_find(dir, &c, NULL) == 0) {
        r->server = mem_strdup(client_url(c));
        client_free(c);
    }
}

/* Last: it takes a second, and needs a data folder for the models. */
static void look_at_roof(struct report *r, unsigned mask, const char *dir)
{
    struct err e;
    if (r->dir && doctor_roof(&r->roof, mask, dir, &e))
        problem(r, false, "what models may reach here is not known: %s", e.msg);
}

static int print_report(const struct report *r, const char *features)
{
    char a[OUT_SHORT], b[OUT_SHORT], c[OUT_SHORT];
    int bad = 0;
    for (int i = 0; i < r->n_kernels; i++)
        bad += !r->kernel[i].ok;
    printf("Hearth %s\n\n", HEARTH_VERSION);
    printf("CPU       %s, %d usable cores%s\n", cpu_model(), cpu_count(),
           r->virtual_machine ? ", in a virtual machine" : "");
    printf("Layout    %d CPUs on %d physical core%s of %d memory node%s\n", r->topo.n, r->topo.n_cores,
           r->topo.n_cores > 1 ? "s" : "", r->topo.n_nodes, r->topo.n_nodes > 1 ? "s" : "");
    printf("Features  %s; L1d %s, L2 %s, L3 %s\n", features, out_bytes(a, cpu_cache_bytes(1)),
           out_bytes(b, cpu_cache_bytes(2)), out_bytes(c, cpu_cache_bytes(3)));
    printf("Kernels   level %s; self-test: %d of %d equal the reference bit for bit (%.0f ms)\n", r->k.level,
           r->n_kernels - bad, r->n_kernels, r->kernels_s * 1e3);
    for (size_t i = 0; kernel_entry_name(i); i++)
        printf("%s%-16s %-7s%s", i % 3 == 0 ? "          " : "  ", kernel_entry_name(i), kernel_entry_level(&r->k, i),
               i % 3 == 2 || !kernel_entry_name(i + 1) ? "\n" : "");
    doctor_roof_print(&r->roof);
    printf("Memory    %s, %s available, ceiling %s\n", out_bytes(a, r->memory.total), out_bytes(b, r->memory.available),
           out_bytes(c, r->ceiling));
    printf("Disk      %s free in %s\n", out_bytes(a, r->disk_free), r->dir ? r->dir : "(no data folder)");
    printf("Pages     huge pages: %s\n", r->huge[0] ? r->huge : "unknown");
    printf("Governor  %s\n", r->governor[0] ? r->governor : "not shown by this machine");
    printf("Python    %s, pip %s\n", r->python[0] ? r->python : "none", r->pip[0] ? r->pip : "none");
    printf("Server    %s\n\n", r->server ? r->server : "not running");
    for (int i = 0; i < r->n_problems; i++)
        printf("%s: %s\n", r->problem[i].error ? "wrong" : "note", r->problem[i].text);
    if (!r->n_problems)
        printf("All is well.\n");
    return CLI_OK;
}

static int print_json(const struct report *r, const char *features, bool well)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "version", HEARTH_VERSION);
    jsonw_kbool(&w, "ok", well);
    jsonw_kstr(&w, "cpu", cpu_model());
    jsonw_kint(&w, "cores", cpu_count());
    jsonw_kint(&w, "cpus", r->topo.n);
    jsonw_kint(&w, "physical_cores", r->topo.n_cores);
    jsonw_kint(&w, "memory_nodes", r->topo.n_nodes);
    jsonw_kstr(&w, "features", features);
    jsonw_kbool(&w, "virtual_machine", r->virtual_machine);
    jsonw_kstr(&w, "kernel_level", r->k.level);
    jsonw_key(&w, "kernels");
    jsonw_obj(&w);
    for (size_t i = 0; kernel_entry_name(i); i++)
        jsonw_kstr(&w, kernel_entry_name(i), kernel_entry_level(&r->k, i));
    jsonw_end_obj(&w);
    jsonw_key(&w, "self_test");
    jsonw_obj(&w);
    for (int i = 0; i < r->n_kernels; i++)
        jsonw_kbool(&w, r->kernel[i].name, r->kernel[i].ok);
    jsonw_end_obj(&w);
    doctor_roof_json(&r->roof, &w);
    jsonw_kint(&w, "memory_total", (int64_t)r->memory.total);
    jsonw_kint(&w, "memory_available", (int64_t)r->memory.available);
    jsonw_kint(&w, "ceiling", (int64_t)r->ceiling);
    jsonw_kstr(&w, "data_dir", r->dir);
    jsonw_kint(&w, "disk_free", (int64_t)r->disk_free);
    jsonw_kstr(&w, "huge_pages", r->huge);
    jsonw_kstr(&w, "governor", r->governor);
    jsonw_kstr(&w, "python", r->python);
    jsonw_kstr(&w, "pip", r->pip);
    jsonw_kstr(&w, "server", r->server);
    jsonw_key(&w, "problems");
    jsonw_arr(&w);
    for (int i = 0; i < r->n_problems; i++) {
        jsonw_obj(&w);
        jsonw_kstr(&w, "kind", r->problem[i].error ? "error" : "warning");
        jsonw_kstr(&w, "text", r->problem[i].text);
        jsonw_end_obj(&w);
    }
    jsonw_end_arr(&w);
    jsonw_end_obj(&w);
    return out_json(&b);
}

static const char *feature_names(char out[80])
{
    static const struct {
        unsigned bit;
        const char *name;
    } all[] = {{CPU_AVX2, "AVX2+FMA+F16C"}, {CPU_AVXVNNI, "AVX-VNNI"}, {CPU_AVX512, "AVX-512+VNNI"},
               {CPU_AMX, "AMX int8"},       {CPU_NEON, "NEON"},        {CPU_DOTPROD, "dot product"},
               {CPU_I8MM, "I8MM"}};
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if ((cpu_features() & all[i].bit) && n < 60)
            n += (size_t)snprintf(out + n, 80 - n, "%s%s", n ? ", " : "", all[i].name);
    if (!n)
        snprintf(out, 80, "none that the kernels use");
    return out;
}

int cmd_doctor(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct err e;
    const char *mask_name;
    char features[80];
    unsigned mask;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    if (cli_cpu_mask(v.cpu_mask, &mask_name, &mask, &e))
        return cli_fail(&e);
    struct report *r = mem_calloc(1, sizeof *r);
    if (!r)
        return cli_error(CLI_FAILED, "out of memory; close other programs and try again");
    look_at_kernels(r, mask);
    look_at_memory(r, v.ceiling);
    look_at_disk(r, v.data_dir);
    look_at_machine(r);
    look_at_server(r, v.data_dir);
    look_at_roof(r, mask, v.data_dir);
    bool well = true;
    for (int i = 0; i < r->n_problems; i++)
        well = well && !r->problem[i].error;
    feature_names(features);
    code = v.json ? print_json(r, features, well) : print_report(r, features);
    if (code == CLI_OK && !well)
        code = CLI_FAILED;
    mem_free(r->dir);
    mem_free(r->server);
    mem_free(r->roof.model);
    mem_free(r);
    return code;
}
