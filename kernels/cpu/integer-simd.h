/* integer-simd.h - vectors of integers, as wide as those of simd.h
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A vi holds SIMD_LANES numbers of 32 bits, twice as many of 16, four times
 * as many bytes. What moves or widens numbers does so within each 16 bytes.
 */
#pragma once

#include "kernels/cpu/simd.h"

#define SIMD_BYTES (4 * SIMD_LANES)
#define SIMD_GROUPS (SIMD_LANES / 8) /* groups of 32 bytes in a vector */

#if SIMD_LANES == 8

typedef __m256i vi;
#define vi_set1(x) _mm256_set1_epi32 (x)
#define vi_add _mm256_add_epi32
#define vi_madd _mm256_madd_epi16
#define vi_low_bytes _mm256_unpacklo_epi8
#define vi_high_bytes _mm256_unpackhi_epi8
#define vi_shuffle _mm256_shuffle_epi8
#define vi_to_16 _mm256_packs_epi32
#define vi_to_bytes _mm256_packus_epi16
#define vi_shift_left(x, n) _mm256_slli_epi32 (x, n)
#define vi_shift_right(x, n) _mm256_sra_epi32 (x, _mm_cvtsi32_si128 (n))
#define vi_load(p) _mm256_loadu_si256 ((const __m256i *) (p))
#define vi_store(p, x) _mm256_storeu_si256 ((__m256i *) (p), x)
/* The same 32 bytes in each group. */
#define vi_repeat(x) (x)

#elif defined SIMD_HALVES

typedef struct vi {
  __m256i a, b;
} vi;

#define TWICE_INTEGER(name, what)                                              \
  SIMD_INLINE vi name (vi x, vi y)                                             \
  {                                                                            \
    return (vi){ what (x.a, y.a), what (x.b, y.b) };                           \
  }
TWICE_INTEGER (vi_add, _mm256_add_epi32)
TWICE_INTEGER (vi_madd, _mm256_madd_epi16)
TWICE_INTEGER (vi_low_bytes, _mm256_unpacklo_epi8)
TWICE_INTEGER (vi_high_bytes, _mm256_unpackhi_epi8)
TWICE_INTEGER (vi_shuffle, _mm256_shuffle_epi8)
TWICE_INTEGER (vi_to_16, _mm256_packs_epi32)
TWICE_INTEGER (vi_to_bytes, _mm256_packus_epi16)
#define vi_repeat(x) ((vi){ x, x })
#define vi_set1(x) vi_repeat (_mm256_set1_epi32 (x))

SIMD_INLINE vi
vi_shift_left (vi x, int n)
{
  return (vi){ _mm256_slli_epi32 (x.a, n), _mm256_slli_epi32 (x.b, n) };
}

SIMD_INLINE vi
vi_shift_right (vi x, int n)
{
  __m128i count = _mm_cvtsi32_si128 (n);
  return (vi){ _mm256_sra_epi32 (x.a, count), _mm256_sra_epi32 (x.b, count) };
}

SIMD_INLINE vi
vi_load (const void *p)
{
  const __m256i *x = p;
  return (vi){ _mm256_loadu_si256 (x), _mm256_loadu_si256 (x + 1) };
}

SIMD_INLINE void
vi_store (void *p, vi x)
{
  _mm256_storeu_si256 ((__m256i *) p, x.a);
  _mm256_storeu_si256 ((__m256i *) p + 1, x.b);
}

#else

typedef __m512i vi;
#define vi_set1(x) _mm512_set1_epi32 (x)
#define vi_add _mm512_add_epi32
#define vi_madd _mm512_madd_epi16
#define vi_low_bytes _mm512_unpacklo_epi8
#define vi_high_bytes _mm512_unpackhi_epi8
#define vi_shuffle _mm512_shuffle_epi8
#define vi_to_16 _mm512_packs_epi32
#define vi_to_bytes _mm512_packus_epi16
#define vi_shift_left(x, n) _mm512_slli_epi32 (x, n)
#define vi_shift_right(x, n) _mm512_sra_epi32 (x, _mm_cvtsi32_si128 (n))
#define vi_load(p) _mm512_loadu_si512 (p)
#define vi_store(p, x) _mm512_storeu_si512 (p, x)
#define vi_repeat(x) _mm512_broadcast_i64x4 (x)

#endif

/* 16 bytes for each group, twice in it. */
SIMD_INLINE vi
vi_spread (const __m128i x[SIMD_GROUPS])
{
  __m256i a = _mm256_broadcastsi128_si256 (x[0]);
#if SIMD_LANES == 8
  return a;
#else
  __m256i b = _mm256_broadcastsi128_si256 (x[1]);
#ifdef SIMD_HALVES
  return (vi){ a, b };
#else
  return _mm512_inserti64x4 (_mm512_castsi256_si512 (a), b, 1);
#endif
#endif
}

/* The two halves of a group, added. */
SIMD_INLINE __m128i
vi_fold_group (__m256i x)
{
  return _mm_add_epi32 (
      _mm256_castsi256_si128 (x), _mm256_extracti128_si256 (x, 1));
}

SIMD_INLINE void
vi_fold (__m128i sum[SIMD_GROUPS], vi x)
{
#if SIMD_LANES == 8
  sum[0] = vi_fold_group (x);
#elif defined SIMD_HALVES
  sum[0] = vi_fold_group (x.a);
  sum[1] = vi_fold_group (x.b);
#else
  sum[0] = vi_fold_group (_mm512_castsi512_si256 (x));
  sum[1] = vi_fold_group (_mm512_extracti64x4_epi64 (x, 1));
#endif
}
