/* model: the list of families, the hyper-parameters every family has, and the checks around a family's builder. */
#include "model/model.h"

#include "model/build.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct model_family *const families[] = {&model_llama, &model_qwen2, &model_gemma3};
enum { N_FAMILY = sizeof families / sizeof families[0] };

const char *model_family_name(int i)
{
    return i >= 0 && i < N_FAMILY ? families[i]->arch : NULL;
}

static const struct model_family *model_family(const char *arch)
{
    for (int i = 0; i < N_FAMILY; i++)
        if (strcmp(families[i]->arch, arch) == 0)
            return families[i];
    return NULL;
}

/* Hyper-parameters that are plain numbers: one row each. An absent optional one keeps its default. */
struct model_key {
    const char *key;
    size_t offset;
    uint32_t min, max;
    bool optional;
};
#define KEY(k, field, lo, hi, opt)                                                                                     \
    {                                                                                                                  \
        k, offsetof(struct model_info, field), lo, hi, opt                                                             \
    }
static const struct model_key model_keys[] = {
    KEY("block_count", n_layer, 1, 1024, false),         KEY("embedding_length", n_embd, 8, 1 << 17, false),
    KEY("attention.head_count", n_head, 1, 4096, false), KEY("attention.head_count_kv", n_kv_head, 1, 4096, true),
    KEY("feed_forward_length", n_ff, 8, 1 << 20, false), KEY("context_length", n_ctx, 1, 1 << 24, false),
    KEY("attention.key_length", head_dim, 8, 512, true),
};

static int model_read_ints(const struct model_file *f, struct model_info *out, struct err *e)
{
    for (size_t i = 0; i < sizeof model_keys / sizeof model_keys[0]; i++) {
        const struct model_key *k = &model_keys[i];
        char key[96];
        snprintf(key, sizeof key, "%s.%s", out->family, k->key);
        uint32_t v = 0;
        int rc = file_get_u32(f, key, &v, e);
        if (rc == ERR_NOTFOUND && k->optional)
            continue;
        if (rc)
            return rc == ERR_NOTFOUND ? err_set(e, ERR_FORMAT, "the file lacks %s", key) : rc;
        if (v < k->min || v > k->max)
            return err_set(e, ERR_FORMAT, "%s is %u, expected %u to %u", key, v, k->min, k->max);
        *(int *)((char *)out + k->offset) = (int)v;
    }
    return 0;
}

static int model_read_float(const struct model_file *f, const char *family, const char *name, float *out, struct err *e)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", family, name);
    int rc = file_get_f32(f, key, out, e);
    if (rc == ERR_NOTFOUND)
        return 0;
    if (!rc && !(*out > 0.0f && *out < 1e12f))
        return err_set(e, ERR_FORMAT, "%s is %g", key, (double)*out);
    return rc;
}

static int model_read_rope(const struct model_file *f, struct model_info *out, struct err *e)
{
    char key[96];
    struct file_str kind;
    snprintf(key, sizeof key, "%s.rope.scaling.type", out->family);
    if (file_get_str(f, key, &kind, NULL) == 0 && !(kind.n == 4 && memcmp(kind.p, "none", 4) == 0)) {
        if (kind.n != 6 || memcmp(kind.p, "linear", 6) != 0)
            return err_set(e, ERR_UNSUPPORTED, "RoPE scaling of type \"%.*s\"", (int)(kind.n < 32 ? kind.n : 32),
                           kind.p);
        int rc = model_read_float(f, out->family, "rope.scaling.factor", &out->rope_scale, e);
        if (rc)
            return rc;
    }
    if (file_tensor_find(f, "rope_freqs.weight"))
        return err_set(e, ERR_UNSUPPORTED, "RoPE with a table of frequency factors (rope_freqs.weight)");
    uint32_t dims = 0;
    snprintf(key, sizeof key, "%s.rope.dimension_count", out->family);
    if (file_get_u32(f, key, &dims, NULL) == 0 && dims != (uint32_t)out->head_dim)
        return err_set(e, ERR_UNSUPPORTED, "RoPE over %u of %d head dimensions", dims, out->head_dim);
    return 0;
}

/* The dtype that most weight bytes have, refined by general.file_type's usual names for mixes. */
static void model_read_quant(const struct model_file *f, struct model_info *out)
{
    static const struct {
        uint32_t id;
        const char *name;
    } mixes[] = {{0, "F32"},     {1, "F16"},   {2, "Q4_0"},    {3, "Q4_1"},    {7, "Q8_0"},
                 {8, "Q5_0"},    {9, "Q5_1"},  {14, "Q4_K_S"}, {15, "Q4_K_M"}, {16, "Q5_K_S"},
                 {17, "Q5_K_M"}, {18, "Q6_K"}, {32, "BF16"},   {38, "MXFP4"},  {39, "NVFP4"}};
    uint32_t type = 0;
    if (file_get_u32(f, "general.file_type", &type, NULL) == 0)
        for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++)
            if (mixes[i].id == type) {
                snprintf(out->quant, sizeof out->quant, "%s", mixes[i].name);
                return;
            }
    uint64_t bytes[DT_COUNT] = {0};
    int best = DT_F32;
    for (uint64_t i = 0; i < f->n_tensor; i++)
        bytes[f->tensor[i].dtype] += f->tensor[i].bytes;
    for (int t = 0; t < DT_COUNT; t++)
        if (bytes[t] > bytes[best])
            best = t;
    snprintf(out->quant, sizeof out->quant, "%s", dtype_info((enum dtype)best)->name);
}

static void model_read_counts(const struct model_file *f, struct model_info *out)
{
    for (uint64_t i = 0; i < f->n_tensor; i++) {
        const struct file_tensor *t = &f->tensor[i];
        out->n_params += t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
    }
}

static int model_check(const struct model_info *m, struct err *e)
{
    if (m->n_head % m->n_kv_head)
        return err_set(e, ERR_FORMAT, "%d heads do not divide into %d key-value heads", m->n_head, m->n_kv_head);
    if (m->n_head / m->n_kv_head > 64)
        return err_set(e, ERR_UNSUPPORTED, "%d heads share one key-value head (at most 64)", m->n_head / m->n_kv_head);
    if (m->head_dim < 8 || m->head_dim > 512 || m->head_dim % 8)
        return err_set(e, ERR_UNSUPPORTED, "heads of %d dimensions (a multiple of 8 up to 512 is needed)", m->head_dim);
    if ((int64_t)m->n_head * m->head_dim > 1 << 20)
        return err_set(e, ERR_FORMAT, "%d heads of %d dimensions", m->n_head, m->head_dim);
    return 0;
}

int model_read(const struct model_file *f, struct model_info *out, struct err *e)
{
    struct model_info m = {.rms_eps = 1e-5f, .rope_base = 10000.0f, .rope_scale = 1.0f};
    struct file_str arch, name;
    int rc = file_get_str(f, "general.architecture", &arch, e);
    if (rc)
        return rc == ERR_NOTFOUND ? err_set(e, ERR_FORMAT, "the file does not say its architecture") : rc;
    snprintf(m.family, sizeof m.family, "%.*s", (int)(arch.n < 23 ? arch.n : 23), arch.p);
    const struct model_family *family = model_family(m.family);
    if (!family)
        return err_set(e, ERR_UNSUPPORTED, "models of the family \"%s\" (known: llama, qwen2, gemma3)", m.family);
    if (file_get_str(f, "general.name", &name, NULL) == 0)
        snprintf(m.name, sizeof m.name, "%.*s", (int)(name.n < 95 ? name.n : 95), name.p);

    if ((rc = model_read_ints(f, &m, e)))
        return rc;
    if (!m.n_kv_head)
        m.n_kv_head = m.n_head;
    if (!m.head_dim)
        m.head_dim = m.n_embd / m.n_head;
    if ((rc = model_check(&m, e)) ||
        (rc = model_read_float(f, m.family, "attention.layer_norm_rms_epsilon", &m.rms_eps, e)) ||
        (rc = model_read_float(f, m.family, "rope.freq_base", &m.rope_base, e)) || (rc = model_read_rope(f, &m, e)))
        return rc;
    const struct file_tensor *embd = file_tensor_find(f, "token_embd.weight");
    if (!embd || embd->dim[1] < 2 || embd->dim[1] > 1 << 22)
        return err_set(e, ERR_FORMAT, "tensor token_embd.weight is missing or has an absurd vocabulary");
    m.n_vocab = (int)embd->dim[1];
    if (family->read && (rc = family->read(f, &m, e)))
        return rc == ERR_NOTFOUND ? err_prefix(e, ERR_FORMAT, "%s", m.family) : rc;
    model_read_quant(f, &m);
    model_read_counts(f, &m);
    *out = m;
    return 0;
}

static const enum dtype kv_types[] = {DT_F32, DT_F16, DT_BF16, DT_Q8_0, DT_F8_E4M3};

const char *model_kv_name(int i)
{
    return i >= 0 && (size_t)i < sizeof kv_types / sizeof *kv_types ? dtype_info(kv_types[i])->name : NULL;
}

int model_kv_flag(const char *name, unsigned *out, struct err *e)
{
    const char *type;
    for (int i = 0; (type = model_kv_name(i)); i++)
        if (strcasecmp(name, type) == 0) {
            *out = ((unsigned)kv_types[i] + 1) << MODEL_KV;
            return 0;
        }
    return err_set(e, ERR_USAGE, "cache type \"%s\" is not known: f32, f16, bf16, q8_0 or f8_e4m3", name);
}

int model_build(const struct model_file *f, const struct model_info *info, unsigned flags, struct graph **out,
                struct err *e)
{
    const struct model_family *family = model_family(info->family);
    if (!family)
        return err_set(e, ERR_UNSUPPORTED, "models of the family \"%s\"", info->family);
    struct builder b = {.file = f, .info = info, .g = graph_new(), .flags = flags};
    if (!b.g)
        return err_set(e, ERR_NOMEM, "out of memory while building the graph");
    b.g->n_vocab = info->n_vocab;
    b.g->n_ctx = info->n_ctx;
    family->build(&b);
    int rc = b.rc;
    if (rc)
        err_set(e, rc, "%s", b.err.msg);
    else
        rc = graph_check(b.g, e);
    if (rc) {
        graph_free(b.g);
        return rc;
    }
    *out = b.g;
    return 0;
}
