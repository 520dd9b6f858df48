/* neon/linear: quantised weights by sdot (linear.h). */
#include "kernel/neon/linear.h"

LINEAR_FORMATS(LINEAR_DEFINE)

void neon_init_linear(struct kernels *k)
{
    LINEAR_FORMATS(LINEAR_ROW)
}
