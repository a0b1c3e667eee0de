/* init-simd.c - all slots that a vector level overwrites
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/simd.h"

#include "kernels/cpu/variants.h"

void
SIMD_NAME (cpu_init_simd) (Ops *op)
{
  SIMD_NAME (cpu_init_matmul) (op);
  SIMD_NAME (cpu_init_norm) (op);
  SIMD_NAME (cpu_init_elementwise) (op);
  SIMD_NAME (cpu_init_merge) (op);
  SIMD_NAME (cpu_init_attention) (op);
  SIMD_NAME (cpu_init_listed) (op);
  SIMD_NAME (cpu_init_resize) (op);
}
