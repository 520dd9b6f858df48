/* digest: OpenSSL's EVP behind four calls; see digest.h. */
#include "store/digest.h"
#include "base/mem.h"
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

enum { DIGEST_CHUNK = 256 << 10 };

int digest_init(struct digest *d, struct err *e)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (!c || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c);
        d->ctx = NULL;
        return err_set(e, ERR_NOMEM, "out of memory for a SHA-256 context");
    }
    d->ctx = c;
    return 0;
}

void digest_add(struct digest *d, const void *p, size_t n)
{
    EVP_DigestUpdate(d->ctx, p, n);
}

void digest_hex(struct digest *d, char out[DIGEST_HEX])
{
    unsigned char md[EVP_MAX_MD_SIZE] = {0};
    unsigned n = 0;
    EVP_DigestFinal_ex(d->ctx, md, &n);
    for (int i = 0; i < 32; i++) {
        out[2 * i] = "0123456789abcdef"[md[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[md[i] & 15];
    }
    out[64] = 0;
    digest_done(d);
}

void digest_done(struct digest *d)
{
    EVP_MD_CTX_free(d->ctx);
    d->ctx = NULL;
}

void digest_of(const char *text, char out[DIGEST_HEX])
{
    struct digest d;
    out[0] = 0;
    if (digest_init(&d, NULL))
        return;
    digest_add(&d, text, strlen(text));
    digest_hex(&d, out);
}

bool digest_valid(const char *hex)
{
    return strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}

int digest_file(int fd, char out[DIGEST_HEX], digest_tick_fn tick, void *arg, struct err *e)
{
    struct digest d;
    uint64_t done = 0;
    int rc = digest_init(&d, e);
    if (rc)
        return rc;
    char *chunk = mem_alloc(DIGEST_CHUNK);
    if (!chunk)
        rc = err_set(e, ERR_NOMEM, "out of memory for hashing");
    while (!rc) {
        ssize_t n = pread(fd, chunk, DIGEST_CHUNK, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_errno(e, "cannot read");
        if (n <= 0)
            break;
        digest_add(&d, chunk, (size_t)n);
        done += (uint64_t)n;
        if (tick)
            rc = tick(arg, done);
    }
    mem_free(chunk);
    if (rc)
        digest_done(&d);
    else
        digest_hex(&d, out);
    return rc;
}
