/* net: what hub.c needs of HTTP besides net_fetch: one HEAD request. */
#ifndef HEARTH_STORE_NET_H
#define HEARTH_STORE_NET_H
#include "store/fetch.h"

struct net_reply { /* of the last response seen; earlier redirects are forgotten */
    long status;
    char etag[160];        /* with its quotes; "" if none */
    char linked_etag[160]; /* the hub's digest of the file behind a redirect */
    uint64_t linked_size;
    char location[2048];
    uint64_t range_start, length;
    bool has_range, has_length;
};
/* Does not follow redirects. Any status is a success; only a missing answer is an error. */
int net_head(struct fetch *f, const char *url, const char *token, struct net_reply *out, struct err *e);

#endif
