/* replay: runs a fuzz target once over every file of the folders and files named, so that seeds and past crashes are
 * checked by every compiler and on every machine, not only where libFuzzer is. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st)) {
        perror(path);
        if (f)
            fclose(f);
        return 1;
    }
    size_t len = (size_t)st.st_size;
    uint8_t *bytes = malloc(len ? len : 1); /* exact, so that a sanitizer sees one byte too far */
    int bad = !bytes || fread(bytes, 1, len, f) != len;
    fclose(f);
    if (!bad)
        LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    return bad;
}

int main(int argc, char **argv)
{
    int n = 0, bad = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (!d) {
            bad |= replay_file(argv[i]);
            n++;
            continue;
        }
        for (struct dirent *entry; (entry = readdir(d));) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            bad |= replay_file(path);
            n++;
        }
        closedir(d);
    }
    printf("%d inputs replayed\n", n);
    return bad || n == 0;
}
