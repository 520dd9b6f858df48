/* client: talks to a running `hearth up`: finds it by DATA/server.json, asks it over HTTP. Owns the state file's form. */
#ifndef HEARTH_CLI_CLIENT_H
#define HEARTH_CLI_CLIENT_H
#include "base/buf.h"
#include "base/err.h"
#include <stdbool.h>

struct client;

/* The state file: {"url","pid","key"}, readable by its owner only; `up` writes it when it listens and removes it at its end. */
int client_state_write(const char *dir, const char *url, const char *key, struct err *e);
void client_state_remove(const char *dir); /* only if it is this process's own */

/* dir NULL: fs_data_dir. ERR_NOTFOUND when no server runs there (or none that answers /health within a second). */
int client_find(const char *dir, struct client **out, struct err *e);
int client_new(const char *url, const char *key, struct client **out, struct err *e);
void client_free(struct client *c);
const char *client_url(const struct client *c);

/* Body of a 200; any other status becomes an error with the server's own message. Ends with ERR_CANCELLED on Ctrl-C. */
int client_get(struct client *c, const char *path, struct buf *body, struct err *e);
int client_post(struct client *c, const char *path, const char *json, struct buf *body, struct err *e);

/* POST whose answer is a stream of server-sent events: `line` gets each event's data (NUL-terminated); non-zero ends the
 * stream early, without an error. */
typedef int (*client_event)(void *arg, char *data, size_t n);
int client_stream(struct client *c, const char *path, const char *json, client_event line, void *arg, struct err *e);

#endif
