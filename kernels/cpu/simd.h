/* simd.h - one vector type for sources that are compiled once per level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A *-simd.c file is built several times: for AVX2 (SIMD_LANES 8), for AVX-512
 * (16), and, for the tests, with the 16 lanes of AVX-512 made of two AVX2
 * halves (SIMD_HALVES), so that its code runs on processors without it.
 * SIMD_PAIRS adds products of bf16, an instruction or its imitation.
 * SIMD_NAME(f) is f_avx2, f_avx512, f_bf16 or f_halves.
 */
#pragma once

#include "kernels/cpu/convert.h"

#include <immintrin.h>

#define SIMD_PASTE(name, level) name##_##level
#define SIMD_EXPAND(name, level) SIMD_PASTE (name, level)
#define SIMD_NAME(name) SIMD_EXPAND (name, SIMD_LEVEL)
#define SIMD_INLINE static inline __attribute__ ((always_inline))

/* ---- eight lanes ---- */

/* Numbers of `type`, widened. */
SIMD_INLINE __m256
load8_as_f32 (const void *p, DataType type)
{
  if (type == TYPE_F32)
    return _mm256_loadu_ps (p);
  __m128i half = _mm_loadu_si128 (p);
  if (type == TYPE_F16)
    return _mm256_cvtph_ps (half);
  return _mm256_castsi256_ps (
      _mm256_slli_epi32 (_mm256_cvtepu16_epi32 (half), 16));
}

SIMD_INLINE __m256i
mask8 (int n)
{
  const __m256i lane = _mm256_setr_epi32 (0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32 (_mm256_set1_epi32 (n), lane);
}

SIMD_INLINE float
sum8 (__m256 x)
{
  __m128 s =
      _mm_add_ps (_mm256_castps256_ps128 (x), _mm256_extractf128_ps (x, 1));
  s = _mm_add_ps (s, _mm_movehl_ps (s, s));
  return _mm_cvtss_f32 (_mm_add_ss (s, _mm_movehdup_ps (s)));
}

SIMD_INLINE float
largest8 (__m256 x)
{
  __m128 s =
      _mm_max_ps (_mm256_castps256_ps128 (x), _mm256_extractf128_ps (x, 1));
  s = _mm_max_ps (s, _mm_movehl_ps (s, s));
  return _mm_cvtss_f32 (_mm_max_ss (s, _mm_movehdup_ps (s)));
}

/* 2^n for integral n in -126 .. 127 */
SIMD_INLINE __m256
power8 (__m256 n)
{
  __m256i i =
      _mm256_add_epi32 (_mm256_cvtps_epi32 (n), _mm256_set1_epi32 (127));
  return _mm256_castsi256_ps (_mm256_slli_epi32 (i, 23));
}

#define ROUND (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

#if SIMD_LANES == 8

typedef __m256 vf;
#define vf_load _mm256_loadu_ps
#define vf_store _mm256_storeu_ps
#define vf_set1 _mm256_set1_ps
#define vf_add _mm256_add_ps
#define vf_sub _mm256_sub_ps
#define vf_mul _mm256_mul_ps
#define vf_div _mm256_div_ps
#define vf_max _mm256_max_ps /* NaN in the second argument stays */
#define vf_min _mm256_min_ps
#define vf_fma _mm256_fmadd_ps
#define vf_fnma _mm256_fnmadd_ps
#define vf_round(x) _mm256_round_ps (x, ROUND)
#define vf_sum sum8
#define vf_largest largest8
#define vf_power power8
#define vf_load_as load8_as_f32
/* The first n lanes, the others zero or left alone; 0 <= n. */
#define vf_load_n(p, n) _mm256_maskload_ps (p, mask8 (n))
#define vf_store_n(p, n, x) _mm256_maskstore_ps (p, mask8 (n), x)

#elif defined SIMD_HALVES

typedef struct vf {
  __m256 a, b;
} vf;

#define TWICE(name, what)                                                      \
  SIMD_INLINE vf name (vf x, vf y)                                             \
  {                                                                            \
    return (vf){ what (x.a, y.a), what (x.b, y.b) };                           \
  }
#define TWICE_OF_3(name, what)                                                 \
  SIMD_INLINE vf name (vf x, vf y, vf z)                                       \
  {                                                                            \
    return (vf){ what (x.a, y.a, z.a), what (x.b, y.b, z.b) };                 \
  }
TWICE (vf_add, _mm256_add_ps)
TWICE (vf_sub, _mm256_sub_ps)
TWICE (vf_mul, _mm256_mul_ps)
TWICE (vf_div, _mm256_div_ps)
TWICE (vf_max, _mm256_max_ps)
TWICE (vf_min, _mm256_min_ps)
TWICE_OF_3 (vf_fma, _mm256_fmadd_ps)
TWICE_OF_3 (vf_fnma, _mm256_fnmadd_ps)
#define vf_load(p) vf_load_as (p, TYPE_F32)
#define vf_set1(x) ((vf){ _mm256_set1_ps (x), _mm256_set1_ps (x) })
#define vf_round(x)                                                            \
  ((vf){ _mm256_round_ps ((x).a, ROUND), _mm256_round_ps ((x).b, ROUND) })
#define vf_sum(x) sum8 (_mm256_add_ps ((x).a, (x).b))
#define vf_largest(x) largest8 (_mm256_max_ps ((x).a, (x).b))
#define vf_power(x) ((vf){ power8 ((x).a), power8 ((x).b) })

SIMD_INLINE vf
vf_load_as (const void *p, DataType type)
{
  const char *q = (const char *) p + 8 * data_type_bytes (type);
  return (vf){ load8_as_f32 (p, type), load8_as_f32 (q, type) };
}

SIMD_INLINE void
vf_store (float *p, vf x)
{
  _mm256_storeu_ps (p, x.a);
  _mm256_storeu_ps (p + 8, x.b);
}

SIMD_INLINE vf
vf_load_n (const float *p, int n)
{
  return (vf){ _mm256_maskload_ps (p, mask8 (n)),
    _mm256_maskload_ps (p + 8, mask8 (n - 8)) };
}

SIMD_INLINE void
vf_store_n (float *p, int n, vf x)
{
  _mm256_maskstore_ps (p, mask8 (n), x.a);
  _mm256_maskstore_ps (p + 8, mask8 (n - 8), x.b);
}

SIMD_INLINE __m256
dot_pairs8 (__m256 sum, __m256 x, __m256 y)
{
  const __m256 upper = _mm256_castsi256_ps (_mm256_set1_epi32 (-65536));
  __m256i low_x = _mm256_slli_epi32 (_mm256_castps_si256 (x), 16);
  __m256i low_y = _mm256_slli_epi32 (_mm256_castps_si256 (y), 16);
  sum =
      _mm256_fmadd_ps (_mm256_and_ps (x, upper), _mm256_and_ps (y, upper), sum);
  return _mm256_fmadd_ps (
      _mm256_castsi256_ps (low_x), _mm256_castsi256_ps (low_y), sum);
}

/* sum + the two products of each lane's pair */
SIMD_INLINE vf
vf_dot_pairs (vf sum, vf x, vf y)
{
  return (vf){ dot_pairs8 (sum.a, x.a, y.a), dot_pairs8 (sum.b, x.b, y.b) };
}

#else

#ifdef SIMD_PAIRS
#define vf_dot_pairs(sum, x, y)                                                \
  _mm512_dpbf16_ps (sum, (__m512bh) (x), (__m512bh) (y))
#endif

typedef __m512 vf;
#define vf_load _mm512_loadu_ps
#define vf_store _mm512_storeu_ps
#define vf_set1 _mm512_set1_ps
#define vf_add _mm512_add_ps
#define vf_sub _mm512_sub_ps
#define vf_mul _mm512_mul_ps
#define vf_div _mm512_div_ps
#define vf_max _mm512_max_ps
#define vf_min _mm512_min_ps
#define vf_fma _mm512_fmadd_ps
#define vf_fnma _mm512_fnmadd_ps
#define vf_round(x) _mm512_roundscale_ps (x, ROUND)

SIMD_INLINE __mmask16
mask16 (int n)
{
  return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16) ((1u << n) - 1);
}

#define vf_load_n(p, n) _mm512_maskz_loadu_ps (mask16 (n), p)
#define vf_store_n(p, n, x) _mm512_mask_storeu_ps (p, mask16 (n), x)

SIMD_INLINE vf
vf_load_as (const void *p, DataType type)
{
  if (type == TYPE_F32)
    return _mm512_loadu_ps (p);
  __m256i half = _mm256_loadu_si256 (p);
  if (type == TYPE_F16)
    return _mm512_cvtph_ps (half);
  return _mm512_castsi512_ps (
      _mm512_slli_epi32 (_mm512_cvtepu16_epi32 (half), 16));
}

/* The halves are added first, as SIMD_HALVES does. */
SIMD_INLINE float
vf_sum (vf x)
{
  return sum8 (_mm256_add_ps (
      _mm512_castps512_ps256 (x), _mm512_extractf32x8_ps (x, 1)));
}

SIMD_INLINE float
vf_largest (vf x)
{
  return largest8 (_mm256_max_ps (
      _mm512_castps512_ps256 (x), _mm512_extractf32x8_ps (x, 1)));
}

SIMD_INLINE vf
vf_power (vf n)
{
  __m512i i =
      _mm512_add_epi32 (_mm512_cvtps_epi32 (n), _mm512_set1_epi32 (127));
  return _mm512_castsi512_ps (_mm512_slli_epi32 (i, 23));
}

#endif

/* e^r for |r| < 0.35, a Taylor polynomial, where x = n ln 2 + r. */
SIMD_INLINE vf
exp_fraction (vf x, vf n)
{
  vf r = vf_fnma (n, vf_set1 (0.693359375f), x);
  r = vf_fnma (n, vf_set1 (-2.12194440e-4f), r);
  vf p = vf_set1 (1.0f / 5040);
  p = vf_fma (p, r, vf_set1 (1.0f / 720));
  p = vf_fma (p, r, vf_set1 (1.0f / 120));
  p = vf_fma (p, r, vf_set1 (1.0f / 24));
  p = vf_fma (p, r, vf_set1 (1.0f / 6));
  p = vf_fma (p, r, vf_set1 (0.5f));
  p = vf_fma (p, r, vf_set1 (1));
  return vf_fma (p, r, vf_set1 (1));
}

/* e^x to about 2 ulp; 2^n in two factors, so that it overflows and underflows
 * as it should. NaN stays NaN. */
SIMD_INLINE vf
vf_exp (vf x)
{
  x = vf_min (vf_set1 (120), vf_max (vf_set1 (-120), x));
  vf n = vf_round (vf_mul (x, vf_set1 (1.44269504f)));
  vf half = vf_round (vf_mul (n, vf_set1 (0.5f)));
  vf p = vf_mul (exp_fraction (x, n), vf_power (half));
  return vf_mul (p, vf_power (vf_sub (n, half)));
}

/* The same for x <= 0, where anything below e^-87 may be e^-87. */
SIMD_INLINE vf
vf_exp_down (vf x)
{
  x = vf_max (vf_set1 (-87), x);
  vf n = vf_round (vf_mul (x, vf_set1 (1.44269504f)));
  return vf_mul (exp_fraction (x, n), vf_power (n));
}

/* 1 / (1 + e^-x) */
SIMD_INLINE vf
vf_sigmoid (vf x)
{
  vf e = vf_exp (vf_sub (vf_set1 (0), x));
  return vf_div (vf_set1 (1), vf_add (vf_set1 (1), e));
}
