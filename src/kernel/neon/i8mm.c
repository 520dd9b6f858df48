/* neon/i8mm: quantised weights by smmla (linear.h); the level for Arm processors with the int8 matrix instructions. Compiled apart,
 * so that no such instruction runs where they are missing. */
#include "kernel/neon/linear.h"

LINEAR_FORMATS(LINEAR_DEFINE)

void neon_init_i8mm(struct kernels *k)
{
    LINEAR_FORMATS(LINEAR_ROW)
}
