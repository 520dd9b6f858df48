/* state.h: what the files of this room share. Not for outsiders (api.h is the door).
 *
 * Threads: http's epoll threads (head), its workers (handlers, tokenising), one loader thread per model that somebody waits
 * for, one pump thread. The pump alone answers and frees generations; everybody else only wakes it. */
#ifndef HEARTH_API_STATE_H
#define HEARTH_API_STATE_H
#include "api/api.h"
#include "api/json.h"
#include "api/meter.h"
#include "api/reply.h"
#include "http/http.h"
#include "ledger/ledger.h"
#include <pthread.h>
#include <stdatomic.h>

struct gen;
struct load;

struct pump {
    pthread_mutex_t mu;
    pthread_cond_t wake, empty;
    struct gen *all;          /* every generation, newest first */
    struct gen *ready, *tail; /* those with something to do */
    int n_all;
    uint64_t first_ns; /* when the time of one of them is over first, while it waits for its model; 0: never */
    pthread_t thread;
    bool running, stop;
};
struct loader {
    pthread_mutex_t mu;
    pthread_cond_t idle;
    struct load *list;
    int n_threads;
};
struct preset { /* a model named on the command line: name or path, and what it is called once loaded */
    char *given;
    char name[96];
};

struct api {
    struct hearth *h;
    struct http_server *http;
    char *host, *key;
    char **origins;
    size_t n_origins;
    struct preset *models;
    size_t n_models;
    pthread_mutex_t preset_mu;
    struct ledger_owner *owner; /* bodies, streams and answers */
    struct json_budget budget;  /* the same for bodies once they are read */
    uint64_t start_ns;
    int64_t start_unix;
    size_t body_max;
    atomic_bool stopping;
    struct pump pump;
    struct loader loader;
    struct meter meter;
};

#endif
