/* commands: the functions and option tables that the rows of main.c name; one file cmd_*.c each. */
#ifndef HEARTH_CLI_COMMANDS_H
#define HEARTH_CLI_COMMANDS_H
#include "cli/opt.h"

extern const struct opt run_opts[], up_opts[], pull_opts[], list_opts[], show_opts[], rm_opts[], ps_opts[], load_opts[],
    unload_opts[], fit_opts[], doctor_opts[], bench_sweep_opts[], bench_kernels_opts[], bench_roof_opts[],
    bench_start_opts[], bench_mix_opts[], tokenize_opts[], logits_opts[];

int cmd_run(const struct command *c, int argc, char **argv);
int cmd_up(const struct command *c, int argc, char **argv);
int cmd_pull(const struct command *c, int argc, char **argv);
int cmd_list(const struct command *c, int argc, char **argv);
int cmd_show(const struct command *c, int argc, char **argv);
int cmd_rm(const struct command *c, int argc, char **argv);
int cmd_ps(const struct command *c, int argc, char **argv);
int cmd_fit(const struct command *c, int argc, char **argv);
int cmd_load(const struct command *c, int argc, char **argv);
int cmd_unload(const struct command *c, int argc, char **argv);
int cmd_doctor(const struct command *c, int argc, char **argv);
int cmd_bench_sweep(const struct command *c, int argc, char **argv);
int cmd_bench_kernels(const struct command *c, int argc, char **argv);
int cmd_bench_roof(const struct command *c, int argc, char **argv);
int cmd_bench_mix(const struct command *c, int argc, char **argv);
int cmd_bench_start(const struct command *c, int argc, char **argv);
int cmd_tokenize(const struct command *c, int argc, char **argv);
int cmd_logits(const struct command *c, int argc, char **argv);

#endif
