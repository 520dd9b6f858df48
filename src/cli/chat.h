/* chat: the conversation in the terminal. */
#ifndef HEARTH_CLI_CHAT_H
#define HEARTH_CLI_CHAT_H
#include "cli/answer.h"

struct chat_args {
    struct answer_source *source; /* taken over: /model may close it and open another */
    struct answer_where where;
    struct sampling *sampling;
    const char *system; /* NULL: none */
    bool raw, verbose;
};
/* Returns an exit code; closes the source. */
int chat_run(struct chat_args *a);
/* One line about an answer: tokens, speed, time to first token. */
void chat_stats(const struct answer *a);
/* [{"role":..,"content":..}, ...] for one question; mem_free. NULL: out of memory. */
char *chat_question(const char *system, const char *prompt);

#endif
