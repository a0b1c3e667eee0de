/* resize-avx2.c - separable 8-bit resize with AVX2
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sums of bytes times 16-bit weights, two taps to an instruction. Weights of
 * more bits are split as w = high * 2^15 + low and summed apart: every step
 * is exact modulo 2^32 and the result fits 32 bits, so this equals plain C.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/resize.h"

#include <immintrin.h>
#include <string.h>

#define LOW_BITS 15
#define INLINE static inline __attribute__ ((always_inline))

INLINE int16_t
low_part (int32_t w, bool wide)
{
  return (int16_t) (wide ? w & ((1 << LOW_BITS) - 1) : w);
}

INLINE __m256i
join_parts (__m256i low, __m256i high, bool wide)
{
  return wide ? _mm256_add_epi32 (low, _mm256_slli_epi32 (high, LOW_BITS))
              : low;
}

/* ---- along the rows: four taps of one pixel at a time ---- */

#define ROWS 4

/* Weights of four taps, low parts and high parts. */
typedef struct TapGroup {
  int16_t low[4], high[4];
} TapGroup;

typedef struct RowPass {
  const ResizeAxis *axis;
  const TapGroup *groups; /* [n_out,n_groups] */
  int n_groups;           /* for max_taps taps */
  size_t row_bytes;       /* of the source */
} RowPass;

static void
fill_groups (TapGroup *groups, int n_groups, const ResizeAxis *axis)
{
  memset (groups, 0, sizeof *groups * n_groups * axis->n_out);
  for (int i = 0; i < axis->n_out; i++, groups += n_groups)
    for (int t = 0; t < axis->n_taps[i]; t++) {
      int32_t w = axis->weight[(size_t) i * axis->max_taps + t];

      groups[t / 4].low[t % 4] = low_part (w, !axis->narrow);
      groups[t / 4].high[t % 4] = (int16_t) (w >> LOW_BITS);
    }
}

/* Four pixels as R0 R1 G0 G1 B0 B1 - -, R2 R3 G2 G3 B2 B3 - -. */
INLINE __m256i
spread_pixels (__m128i pixels)
{
  const __m256i order =
      _mm256_setr_epi8 (0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1,
          -1, 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);

  return _mm256_shuffle_epi8 (_mm256_broadcastsi128_si256 (pixels), order);
}

/* Four weights as 0 1 0 1 0 1 0 1, 2 3 2 3 2 3 2 3. */
INLINE __m256i
spread_weights (const int16_t w[4])
{
  int32_t pairs[2];

  memcpy (pairs, w, sizeof pairs);
  return _mm256_setr_m128i (
      _mm_set1_epi32 (pairs[0]), _mm_set1_epi32 (pairs[1]));
}

/* The 16 bytes at p, of which only `left` may be read. */
INLINE __m128i
load_pixels (const uint8_t *p, size_t left, bool near_end)
{
  uint8_t some[16] = { 0 };

  if (!near_end)
    return _mm_loadu_si128 ((const __m128i *) p);
  memcpy (some, p, left < 16 ? left : 16);
  return _mm_loadu_si128 ((const __m128i *) some);
}

INLINE void
store_pixel (uint8_t *dst, __m256i low, __m256i high, int precision, bool wide)
{
  __m256i sum = join_parts (low, high, wide);
  __m128i v = _mm_add_epi32 (
      _mm256_castsi256_si128 (sum), _mm256_extracti128_si256 (sum, 1));
  uint32_t pixel;

  v = _mm_add_epi32 (v, _mm_set1_epi32 (1 << (precision - 1)));
  v = _mm_sra_epi32 (v, _mm_cvtsi32_si128 (precision));
  v = _mm_packs_epi32 (v, v);
  v = _mm_packus_epi16 (v, v);
  pixel = (uint32_t) _mm_cvtsi128_si32 (v);
  memcpy (dst, &pixel, 3);
}

typedef struct RowSums {
  __m256i low[ROWS], high[ROWS];
} RowSums;

INLINE void
add_group (RowSums *sums, const TapGroup *group, const uint8_t *src,
    size_t src_stride, size_t left, int rows, bool wide, bool near_end)
{
  __m256i low = spread_weights (group->low);
  __m256i high = wide ? spread_weights (group->high) : low;

  for (int r = 0; r < rows; r++) {
    __m256i pixels = spread_pixels (
        load_pixels (src + (size_t) r * src_stride, left, near_end));

    sums->low[r] =
        _mm256_add_epi32 (sums->low[r], _mm256_madd_epi16 (pixels, low));
    if (wide)
      sums->high[r] =
          _mm256_add_epi32 (sums->high[r], _mm256_madd_epi16 (pixels, high));
  }
}

INLINE void
resize_some_rows (const RowPass *pass, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int rows, bool wide)
{
  const ResizeAxis *axis = pass->axis;

  for (int i = 0; i < axis->n_out; i++) {
    const TapGroup *group = pass->groups + (size_t) i * pass->n_groups;
    size_t at = (size_t) 3 * axis->first[i];
    RowSums sums;

    for (int r = 0; r < rows; r++)
      sums.low[r] = sums.high[r] = _mm256_setzero_si256 ();
    for (int t = 0; t < axis->n_taps[i]; t += 4, group++, at += 12) {
      size_t left = pass->row_bytes - at;

      if (left >= 16)
        add_group (&sums, group, src + at, src_stride, left, rows, wide, false);
      else
        add_group (&sums, group, src + at, src_stride, left, rows, wide, true);
    }
    for (int r = 0; r < rows; r++)
      store_pixel (dst + ((size_t) r * axis->n_out + i) * 3, sums.low[r],
          sums.high[r], axis->precision, wide);
  }
}

static void
resize_rows_narrow (const RowPass *pass, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int rows)
{
  if (rows == ROWS)
    resize_some_rows (pass, dst, src, src_stride, ROWS, false);
  else
    for (int r = 0; r < rows; r++)
      resize_some_rows (pass, dst + (size_t) r * pass->axis->n_out * 3,
          src + (size_t) r * src_stride, src_stride, 1, false);
}

static void
resize_rows_wide (const RowPass *pass, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int rows)
{
  if (rows == ROWS)
    resize_some_rows (pass, dst, src, src_stride, ROWS, true);
  else
    for (int r = 0; r < rows; r++)
      resize_some_rows (pass, dst + (size_t) r * pass->axis->n_out * 3,
          src + (size_t) r * src_stride, src_stride, 1, true);
}

static void
resize_rows (Device *dev, uint8_t *dst, const uint8_t *src, size_t src_stride,
    int n, const ResizeAxis *axis)
{
  int n_groups = (axis->max_taps + 3) / 4;
  int threads = cpu_resize_threads (dev, axis, n);
  TapGroup *groups = cpu_scratch (dev, sizeof *groups * n_groups * axis->n_out);
  RowPass pass = { axis, groups, n_groups, (size_t) 3 * axis->n_in };

  if (!groups)
    return;
  fill_groups (groups, n_groups, axis);
#pragma omp parallel for num_threads(threads)
  for (int y = 0; y < n; y += ROWS) {
    int rows = n - y < ROWS ? n - y : ROWS;
    uint8_t *to = dst + (size_t) y * axis->n_out * 3;
    const uint8_t *from = src + (size_t) y * src_stride;

    if (axis->narrow)
      resize_rows_narrow (&pass, to, from, src_stride, rows);
    else
      resize_rows_wide (&pass, to, from, src_stride, rows);
  }
}

/* ---- down the columns: two taps of 32 bytes at a time ---- */

#define BLOCK 32

typedef struct ColumnSums {
  __m256i low[4], high[4];
} ColumnSums;

INLINE __m256i
weight_pair (int16_t a, int16_t b)
{
  return _mm256_set1_epi32 (
      (int) ((uint32_t) (uint16_t) b << 16 | (uint16_t) a));
}

/* Bytes of two rows as pairs of 16 bits; quarter q of a lane's 16. */
INLINE __m256i
interleave (__m256i a, __m256i b, int quarter)
{
  const __m256i zero = _mm256_setzero_si256 ();
  __m256i half =
      quarter < 2 ? _mm256_unpacklo_epi8 (a, b) : _mm256_unpackhi_epi8 (a, b);

  return quarter & 1 ? _mm256_unpackhi_epi8 (half, zero)
                     : _mm256_unpacklo_epi8 (half, zero);
}

INLINE void
add_tap_pair (
    ColumnSums *sums, __m256i a, __m256i b, int32_t wa, int32_t wb, bool wide)
{
  __m256i low = weight_pair (low_part (wa, wide), low_part (wb, wide));
  __m256i high =
      weight_pair ((int16_t) (wa >> LOW_BITS), (int16_t) (wb >> LOW_BITS));

  for (int q = 0; q < 4; q++) {
    __m256i pairs = interleave (a, b, q);

    sums->low[q] =
        _mm256_add_epi32 (sums->low[q], _mm256_madd_epi16 (pairs, low));
    if (wide)
      sums->high[q] =
          _mm256_add_epi32 (sums->high[q], _mm256_madd_epi16 (pairs, high));
  }
}

INLINE void
store_block (uint8_t *dst, const ColumnSums *sums, int precision, bool wide)
{
  const __m256i half = _mm256_set1_epi32 (1 << (precision - 1));
  const __m128i shift = _mm_cvtsi32_si128 (precision);
  __m256i v[4];

  for (int q = 0; q < 4; q++) {
    v[q] = join_parts (sums->low[q], sums->high[q], wide);
    v[q] = _mm256_sra_epi32 (_mm256_add_epi32 (v[q], half), shift);
  }
  v[0] = _mm256_packs_epi32 (v[0], v[1]);
  v[2] = _mm256_packs_epi32 (v[2], v[3]);
  _mm256_storeu_si256 ((__m256i *) dst, _mm256_packus_epi16 (v[0], v[2]));
}

INLINE void
resize_block (uint8_t *dst, const uint8_t *src, size_t src_stride,
    const int32_t *w, int n_taps, int precision, bool wide)
{
  ColumnSums sums;
  int t = 0;

  for (int q = 0; q < 4; q++)
    sums.low[q] = sums.high[q] = _mm256_setzero_si256 ();
  for (; t + 2 <= n_taps; t += 2, src += 2 * src_stride)
    add_tap_pair (&sums, _mm256_loadu_si256 ((const __m256i *) src),
        _mm256_loadu_si256 ((const __m256i *) (src + src_stride)), w[t],
        w[t + 1], wide);
  if (t < n_taps)
    add_tap_pair (&sums, _mm256_loadu_si256 ((const __m256i *) src),
        _mm256_setzero_si256 (), w[t], 0, wide);
  store_block (dst, &sums, precision, wide);
}

static void
resize_column (uint8_t *dst, const uint8_t *src, size_t src_stride, int count,
    const ResizeAxis *axis, int i)
{
  const uint8_t *rows = src + (size_t) axis->first[i] * src_stride;
  const int32_t *w = axis->weight + (size_t) i * axis->max_taps;

  for (int x = 0; x < count; x += BLOCK) {
    int at = x + BLOCK <= count ? x : count - BLOCK;

    if (axis->narrow)
      resize_block (dst + at, rows + at, src_stride, w, axis->n_taps[i],
          axis->precision, false);
    else
      resize_block (dst + at, rows + at, src_stride, w, axis->n_taps[i],
          axis->precision, true);
  }
}

static void
resize_columns (Device *dev, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int width, const ResizeAxis *axis)
{
  int count = 3 * width, threads = cpu_resize_threads (dev, axis, width);

#pragma omp parallel for num_threads(threads)
  for (int i = 0; i < axis->n_out; i++) {
    uint8_t *to = dst + (size_t) i * count;

    if (count < BLOCK)
      cpu_resize_column (to, src, src_stride, 0, count, axis, i);
    else
      resize_column (to, src, src_stride, count, axis, i);
  }
}

void
cpu_init_resize_avx2 (Ops *op)
{
  op->resize_rows = resize_rows;
  op->resize_columns = resize_columns;
}
