/* epilogue-simd.h - what follows a product: bias, activation, residual sum
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/cpu/simd.h"

#include "kernels/ops.h"

/* erf by Abramowitz and Stegun 7.1.26, to 1.5e-7. */
SIMD_INLINE vf
vf_erf (vf x)
{
  vf zero = vf_set1 (0), magnitude = vf_max (x, vf_sub (zero, x));
  vf t = vf_div (
      vf_set1 (1), vf_fma (vf_set1 (0.3275911f), magnitude, vf_set1 (1)));
  vf p = vf_set1 (1.061405429f);
  p = vf_fma (p, t, vf_set1 (-1.453152027f));
  p = vf_fma (p, t, vf_set1 (1.421413741f));
  p = vf_fma (p, t, vf_set1 (-0.284496736f));
  p = vf_fma (p, t, vf_set1 (0.254829592f));
  vf e = vf_exp (vf_sub (zero, vf_mul (x, x)));
  vf y = vf_fnma (vf_mul (p, t), e, vf_set1 (1));
  return vf_mul (y, vf_div (x, vf_max (vf_set1 (1e-30f), magnitude)));
}

SIMD_INLINE vf
apply (Epilogue epilogue, vf p)
{
  if (epilogue == EPILOGUE_QUICK_GELU)
    return vf_mul (p, vf_sigmoid (vf_mul (p, vf_set1 (1.702f))));
  if (epilogue == EPILOGUE_GELU) {
    vf phi = vf_add (vf_set1 (1), vf_erf (vf_mul (p, vf_set1 (0.70710678f))));
    return vf_mul (vf_mul (p, vf_set1 (0.5f)), phi);
  }
  return p;
}

/* y[n_rows] from sums; bias may be NULL. */
SIMD_INLINE void
finish_row (float *y, const float *sum, const float *bias, int n_rows,
    Epilogue epilogue)
{
  for (int v = 0; v < n_rows; v += SIMD_LANES) {
    vf p = vf_load (sum + v);
    int n = n_rows - v;
    if (bias)
      p = vf_add (p, vf_load (bias + v));
    if (epilogue == EPILOGUE_ADD)
      p = vf_add (p, n < SIMD_LANES ? vf_load_n (y + v, n) : vf_load (y + v));
    else
      p = apply (epilogue, p);
    if (n < SIMD_LANES)
      vf_store_n (y + v, n, p);
    else
      vf_store (y + v, p);
  }
}
