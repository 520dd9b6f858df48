/* main: the table of commands, and the way to the right row. Nothing heavy happens before a command is chosen. */
#include "cli/bench_mix.h"
#include "cli/commands.h"
#include "cli/opt.h"
#include "hearth.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command commands[] = {
    {"run", "one answer, or a conversation, in the terminal", "MODEL [PROMPT...]",
     "  hearth run smollm2:135m                         a conversation; /help inside\n"
     "  hearth run qwen2.5-coder:1.5b \"Write fizzbuzz in C\"\n"
     "  git diff | hearth run qwen2.5-coder:1.5b \"Explain this change\" -\n"
     "  hearth run gemma3:270m --raw --temp 0 \"The capital of France is\"\n"
     "  hearth run qwen2.5-coder:1.5b --draft qwen2.5-coder:0.5b \"Hi\"   guesses ahead, same answer\n"
     "  hearth run ./model.gguf --json --seed 1 \"Hi\"     one JSON object\n",
     run_opts, 1, -1, cmd_run, false},
    {"up", "the server: OpenAI API and chat page on http://127.0.0.1:11000", "",
     "  hearth up                                   the default model for this machine\n"
     "  hearth up --model smollm2:135m --port 0     any free port\n"
     "  hearth up --ceiling 8G --no-open\n"
     "  hearth up --host 0.0.0.0 --api-key-file ~/.hearth-key\n",
     up_opts, 0, 0, cmd_up, false},
    {"pull", "download models", "NAME...",
     "  hearth pull smollm2:135m\n"
     "  hearth pull gemma3:270m --accept             agrees to the licence terms shown\n"
     "  hearth pull hf:owner/repo:file.gguf\n"
     "  hearth pull ./model.gguf --as mine:latest\n",
     pull_opts, 1, -1, cmd_pull, false},
    {"list", "installed models; --all: also what can be pulled", "", "  hearth list\n  hearth list --all --json\n",
     list_opts, 0, 0, cmd_list, false},
    {"show", "what is inside a model", "NAME", "  hearth show smollm2:135m\n  hearth show ./model.gguf --json\n",
     show_opts, 1, 1, cmd_show, false},
    {"rm", "remove models from this machine", "NAME...", "  hearth rm smollm2:135m\n", rm_opts, 1, -1, cmd_rm, false},
    {"ps", "what the running server holds: models, memory by owner, requests", "", "  hearth ps\n  hearth ps --json\n",
     ps_opts, 0, 0, cmd_ps, false},
    {"fit", "what a model would take, and who would have to go, before it is loaded", "MODEL",
     "  hearth fit qwen2.5-coder:1.5b\n  hearth fit qwen2.5-coder:1.5b --ctx 32k --parallel 4\n"
     "  hearth fit qwen2.5-coder:1.5b --draft qwen2.5-coder:0.5b   both, and the caches of both\n"
     "  hearth fit ./model.gguf --ceiling 2G --json\n",
     fit_opts, 1, 1, cmd_fit, false},
    {"load", "load a model into the running server", "NAME",
     "  hearth load smollm2:135m\n  hearth load smollm2:135m --keep-alive 10m\n", load_opts, 1, 1, cmd_load, false},
    {"unload", "give a model's memory back", "NAME", "  hearth unload smollm2:135m\n", unload_opts, 1, 1, cmd_unload,
     false},
    {"doctor", "is this machine healthy: CPU, kernels, memory, disk", "",
     "  hearth doctor\n  hearth doctor --json\n  hearth doctor --cpu-mask ref\n", doctor_opts, 0, 0, cmd_doctor, false},
    {"bench sweep", "tokens per second of prefill and decode, beside the machine's roof", "MODEL...",
     "  hearth bench sweep qwen2.5-coder:0.5b\n"
     "  hearth bench sweep smollm2:135m --depth 0 --reps 5 --json\n"
     "  hearth bench sweep smollm2:135m --pp 0 --tg 64 --batch 1,4,16,32\n"
     "  hearth bench sweep qwen2.5-coder:1.5b smollm2:135m --depth 0,8k,32k --save before.jsonl\n"
     "  hearth bench sweep qwen2.5-coder:1.5b smollm2:135m --depth 0,8k,32k --against before.jsonl\n"
     "  echo \"tg64 @ d8192 x 4\" | hearth bench sweep smollm2:135m --ask --batch 4 --json\n",
     bench_sweep_opts, 1, -1, cmd_bench_sweep, false},
    {"bench kernels", "each kernel alone: time of a call, cycles, GB/s, GOP/s, share of one core's roof", "[NAME...]",
     "  hearth bench kernels                           all; a NAME is part of a kernel's name\n"
     "  hearth bench kernels linear.Q4_K linear.Q6_K --tokens 1,512\n"
     "  hearth bench kernels attn --cpu-mask avx2 --json\n",
     bench_kernels_opts, 0, -1, cmd_bench_kernels, false},
    {"bench roof", "what this machine can do at best: memory bandwidth, int8 and f32 arithmetic", "",
     "  hearth bench roof\n", bench_roof_opts, 0, 0, cmd_bench_roof, false},
    {"bench mix", "several models at once: waits, fairness, throughput against one after the other", "MODEL...",
     "  hearth bench mix smollm2:135m qwen2.5-coder:0.5b\n"
     "  hearth bench mix smollm2:135m qwen2.5-coder:0.5b --chats 4 --answers 8 --intruder 8192 --json\n"
     "  hearth bench mix smollm2:135m gemma3:270m qwen2.5-coder:0.5b qwen2.5-coder:1.5b --ceiling 3G --intruder 0\n"
     "  hearth bench mix smollm2:135m gemma3:270m qwen2.5-coder:0.5b --ceiling 900M      models come and go\n",
     bench_mix_opts, 1, MIX_MODELS, cmd_bench_mix, false},
    {"bench start", "how long things take to begin: version, health, ready, first token, cancel", "MODEL",
     "  hearth bench start smollm2:135m\n", bench_start_opts, 1, 1, cmd_bench_start, false},
    {"tokenize", "the tokens of a text", "MODEL TEXT...",
     "  hearth tokenize smollm2:135m \"Hello world\"\n  hearth tokenize smollm2:135m --json - < file\n", tokenize_opts,
     1, -1, cmd_tokenize, false},
    {"logits", "raw logits of given tokens, for tests", "MODEL",
     "  hearth logits model.gguf --ids ids.json --out logits.f32\n", logits_opts, 1, 1, cmd_logits, true},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

const struct command *cli_command(size_t i)
{
    return i < N_COMMANDS ? &commands[i] : NULL;
}

static void overview(FILE *to)
{
    fprintf(to, "Hearth %s: a personal AI cloud in one program\n\nusage: hearth COMMAND [options]\n\n", HEARTH_VERSION);
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!commands[i].hidden)
            fprintf(to, "  %-13s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\n  hearth help COMMAND for options and examples; hearth --version\n"
                "Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n");
}

/* Prints the rows of a group ("bench"); false when there is no such group. */
static bool group_overview(FILE *to, const char *group)
{
    bool any = false;
    size_t n = strlen(group);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strncmp(commands[i].name, group, n) || commands[i].name[n] != ' ')
            continue;
        if (!any)
            fprintf(to, "usage: hearth %s COMMAND [options]\n\n", group);
        any = true;
        fprintf(to, "  hearth %-14s %s\n", commands[i].name, commands[i].help);
    }
    if (any)
        fprintf(to, "\n  hearth help %s COMMAND for options and examples\n", group);
    return any;
}

/* The row that words[0], or words[0] and words[1], name; *used says how many words the name took. */
static const struct command *find(int n, char **words, int *used)
{
    for (size_t i = 0; i < N_COMMANDS && n > 0; i++) {
        const char *name = commands[i].name, *space = strchr(name, ' ');
        if (!space && strcmp(name, words[0]) == 0) {
            *used = 1;
            return &commands[i];
        }
        if (space && n > 1 && strlen(words[0]) == (size_t)(space - name) &&
            strncmp(name, words[0], strlen(words[0])) == 0 && strcmp(space + 1, words[1]) == 0) {
            *used = 2;
            return &commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *word)
{
    const char *best = NULL;
    int best_d = 3;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        int d = opt_distance(commands[i].name, word);
        if (!commands[i].hidden && d < best_d) {
            best_d = d;
            best = commands[i].name;
        }
    }
    if (best)
        return cli_error(CLI_USAGE, "unknown command '%s'; did you mean '%s'?", word, best);
    return cli_error(CLI_USAGE, "unknown command '%s'; see: hearth help", word);
}

static int help(int argc, char **argv)
{
    int used = 0;
    const struct command *c = find(argc, argv, &used);
    if (c)
        opt_help(c);
    else if (argc == 0)
        overview(stdout);
    else if (!group_overview(stdout, argv[0]))
        return unknown_command(argv[0]);
    return CLI_OK;
}

static int dispatch(int argc, char **argv)
{
    if (argc == 0) {
        overview(stdout);
        return CLI_OK;
    }
    const char *w = argv[0];
    if (strcmp(w, "--version") == 0 || strcmp(w, "-V") == 0 || strcmp(w, "version") == 0) {
        printf("hearth %s\n", HEARTH_VERSION);
        return CLI_OK;
    }
    if (strcmp(w, "help") == 0 || strcmp(w, "--help") == 0 || strcmp(w, "-h") == 0)
        return help(argc - 1, argv + 1);
    int used = 0;
    const struct command *c = find(argc, argv, &used);
    if (c)
        return c->run(c, argc - used, argv + used);
    bool group = argc == 1 || argv[1][0] == '-';
    if (group &&
        group_overview(argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) ? stdout : stderr, w))
        return argc > 1 ? CLI_OK : CLI_USAGE;
    if (w[0] == '-')
        return cli_error(CLI_USAGE, "unknown option '%s'; see: hearth help", w);
    return unknown_command(w);
}

static void end_at_once(int sig)
{
    (void)sig;
    _exit(CLI_INTERRUPTED);
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = end_at_once};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    int code = dispatch(argc - 1, argv + 1);
    if ((fflush(stdout) || ferror(stdout)) && code == CLI_OK)
        return cli_error(CLI_FAILED, "cannot write the output: %s", strerror(errno));
    return code;
}
