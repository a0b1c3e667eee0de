/* onednn-stub.c - stands in for oneDNN in builds without it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/onednn.h"

#include <stddef.h>

Onednn *
onednn_new (void)
{
  return NULL;
}

void
onednn_free (Onednn *onednn)
{
}

bool
onednn_has_amx (void)
{
  return false;
}

bool
onednn_matmul (Onednn *onednn, DataType type, float *y, const void *x,
    const void *w, int n, int rows, int cols, int n_threads)
{
  return false;
}

bool
onednn_matmul_int8 (int32_t *y, const uint8_t *x, const int8_t *w, int n,
    int rows, int cols, int n_threads)
{
  return false;
}
