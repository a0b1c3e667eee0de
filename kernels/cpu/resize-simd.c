/* resize-simd.c - separable 8-bit resize, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sums of bytes times 16-bit weights, two taps to an instruction. Weights of
 * more bits are split as w = high * 2^15 + low and summed apart: every step
 * is exact modulo 2^32 and the result fits 32 bits, so this equals plain C.
 */
#include "kernels/cpu/integer-simd.h"

#include "kernels/cpu/resize.h"
#include "kernels/cpu/variants.h"

#define LOW_BITS 15

SIMD_INLINE int16_t
low_part (int32_t w, bool wide)
{
  return (int16_t) (wide ? w & ((1 << LOW_BITS) - 1) : w);
}

/* Sums of low parts, and of high parts where weights have them. */
typedef struct Sums {
  vi low, high;
} Sums;

SIMD_INLINE void
add_pairs (Sums *sums, vi pairs, vi low, vi high, bool wide)
{
  sums->low = vi_add (sums->low, vi_madd (pairs, low));
  if (wide)
    sums->high = vi_add (sums->high, vi_madd (pairs, high));
}

SIMD_INLINE vi
join_parts (Sums sums, bool wide)
{
  return wide ? vi_add (sums.low, vi_shift_left (sums.high, LOW_BITS))
              : sums.low;
}

/* ---- along the rows: four taps of one pixel at a time ---- */

/* A vector works on as many rows as it has groups; four vectors share the
 * weights. */
#define VECTORS 4
#define ROWS (VECTORS * SIMD_GROUPS)

/* Weights of four taps, low parts and high parts. */
typedef struct TapGroup {
  int16_t low[4], high[4];
} TapGroup;

typedef struct RowPass {
  CpuResize call;
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

/* Four weights as 0 1 0 1 0 1 0 1, 2 3 2 3 2 3 2 3. */
SIMD_INLINE vi
spread_weights (const int16_t w[4])
{
  int32_t pairs[2];

  memcpy (pairs, w, sizeof pairs);
  return vi_repeat (
      _mm256_setr_m128i (_mm_set1_epi32 (pairs[0]), _mm_set1_epi32 (pairs[1])));
}

/* The 16 bytes at p, of which only `left` may be read. */
SIMD_INLINE __m128i
load_pixels (const uint8_t *p, size_t left, bool near_end)
{
  uint8_t some[16] = { 0 };

  if (!near_end)
    return _mm_loadu_si128 ((const __m128i *) p);
  memcpy (some, p, left < 16 ? left : 16);
  return _mm_loadu_si128 ((const __m128i *) some);
}

/* Four pixels of each row as R0 R1 G0 G1 B0 B1 - -, R2 R3 G2 G3 B2 B3 - -;
 * rows are `step` bytes apart. */
SIMD_INLINE vi
load_pairs (const uint8_t *src, size_t step, size_t left, bool near_end)
{
  const __m256i order =
      _mm256_setr_epi8 (0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1,
          -1, 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  __m128i pixels[SIMD_GROUPS];

  for (int i = 0; i < SIMD_GROUPS; i++)
    pixels[i] = load_pixels (src + i * step, left, near_end);
  return vi_shuffle (vi_spread (pixels), vi_repeat (order));
}

SIMD_INLINE void
add_group (Sums *sums, int n, const TapGroup *group, const uint8_t *src,
    size_t step, size_t left, bool wide, bool near_end)
{
  vi low = spread_weights (group->low);
  vi high = wide ? spread_weights (group->high) : low;

  for (int v = 0; v < n; v++)
    add_pairs (&sums[v],
        load_pairs (src + v * SIMD_GROUPS * step, step, left, near_end), low,
        high, wide);
}

SIMD_INLINE void
store_pixel (uint8_t *dst, __m128i v, int precision)
{
  uint32_t pixel;

  v = _mm_add_epi32 (v, _mm_set1_epi32 (1 << (precision - 1)));
  v = _mm_sra_epi32 (v, _mm_cvtsi32_si128 (precision));
  v = _mm_packs_epi32 (v, v);
  v = _mm_packus_epi16 (v, v);
  pixel = (uint32_t) _mm_cvtsi128_si32 (v);
  memcpy (dst, &pixel, 3);
}

/* Pixel i of `rows` rows: ROWS, or 1, which then fills a whole vector. */
SIMD_INLINE void
resize_pixel (const RowPass *pass, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int i, int rows, bool wide)
{
  const ResizeAxis *axis = pass->axis;
  const TapGroup *group = pass->groups + (size_t) i * pass->n_groups;
  size_t at = (size_t) 3 * axis->first[i], step = rows > 1 ? src_stride : 0;
  int n = rows > 1 ? VECTORS : 1;
  Sums sums[VECTORS];

  for (int v = 0; v < n; v++)
    sums[v] = (Sums){ vi_set1 (0), vi_set1 (0) };
  for (int t = 0; t < axis->n_taps[i]; t += 4, group++, at += 12) {
    size_t left = pass->row_bytes - at;

    if (left >= 16)
      add_group (sums, n, group, src + at, step, left, wide, false);
    else
      add_group (sums, n, group, src + at, step, left, wide, true);
  }
  for (int v = 0; v < n; v++) {
    __m128i folded[SIMD_GROUPS];

    vi_fold (folded, join_parts (sums[v], wide));
    for (int r = 0; r < SIMD_GROUPS && v * SIMD_GROUPS + r < rows; r++)
      store_pixel (dst + ((size_t) (v * SIMD_GROUPS + r) * axis->n_out + i) * 3,
          folded[r], axis->precision);
  }
}

SIMD_INLINE void
resize_some_rows (const RowPass *pass, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int rows, bool wide)
{
  for (int i = 0; i < pass->axis->n_out; i++)
    resize_pixel (pass, dst, src, src_stride, i, rows, wide);
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

/* An item is ROWS rows. */
static void
resize_rows_part (void *data, int from, int to, int thread)
{
  const RowPass *pass = data;
  const CpuResize *r = &pass->call;

  for (int y = from * ROWS; y < to * ROWS && y < r->lines; y += ROWS) {
    int rows = r->lines - y < ROWS ? r->lines - y : ROWS;
    uint8_t *dst = r->dst + (size_t) y * r->axis->n_out * 3;
    const uint8_t *src = r->src + (size_t) y * r->src_stride;

    if (r->axis->narrow)
      resize_rows_narrow (pass, dst, src, r->src_stride, rows);
    else
      resize_rows_wide (pass, dst, src, r->src_stride, rows);
  }
}

static void
resize_rows (Device *dev, uint8_t *dst, const uint8_t *src, size_t src_stride,
    int n, const ResizeAxis *axis)
{
  int n_groups = (axis->max_taps + 3) / 4;
  TapGroup *groups = cpu_scratch (dev, sizeof *groups * n_groups * axis->n_out);
  RowPass pass = { { dst, src, src_stride, n, axis }, axis, groups, n_groups,
    (size_t) 3 * axis->n_in };

  if (!groups)
    return;
  fill_groups (groups, n_groups, axis);
  cpu_run (dev, cpu_resize_cost (axis, n), (n + ROWS - 1) / ROWS, 0,
      resize_rows_part, &pass);
}

/* ---- down the columns: two taps of a vector of bytes at a time ---- */

SIMD_INLINE vi
weight_pair (int16_t a, int16_t b)
{
  return vi_set1 ((int) ((uint32_t) (uint16_t) b << 16 | (uint16_t) a));
}

/* Bytes of two rows as pairs of 16 bits; quarter q of every 16. */
SIMD_INLINE vi
interleave (vi a, vi b, int quarter)
{
  const vi zero = vi_set1 (0);
  vi half = quarter < 2 ? vi_low_bytes (a, b) : vi_high_bytes (a, b);

  return quarter & 1 ? vi_high_bytes (half, zero) : vi_low_bytes (half, zero);
}

SIMD_INLINE void
add_tap_pair (Sums sums[4], vi a, vi b, int32_t wa, int32_t wb, bool wide)
{
  vi low = weight_pair (low_part (wa, wide), low_part (wb, wide));
  vi high =
      weight_pair ((int16_t) (wa >> LOW_BITS), (int16_t) (wb >> LOW_BITS));

  for (int q = 0; q < 4; q++)
    add_pairs (&sums[q], interleave (a, b, q), low, high, wide);
}

SIMD_INLINE void
store_block (uint8_t *dst, const Sums sums[4], int precision, bool wide)
{
  const vi half = vi_set1 (1 << (precision - 1));
  vi v[4];

  for (int q = 0; q < 4; q++)
    v[q] =
        vi_shift_right (vi_add (join_parts (sums[q], wide), half), precision);
  vi_store (dst, vi_to_bytes (vi_to_16 (v[0], v[1]), vi_to_16 (v[2], v[3])));
}

SIMD_INLINE void
resize_block (uint8_t *dst, const uint8_t *src, size_t src_stride,
    const int32_t *w, int n_taps, int precision, bool wide)
{
  Sums sums[4];
  int t = 0;

  for (int q = 0; q < 4; q++)
    sums[q] = (Sums){ vi_set1 (0), vi_set1 (0) };
  for (; t + 2 <= n_taps; t += 2, src += 2 * src_stride)
    add_tap_pair (
        sums, vi_load (src), vi_load (src + src_stride), w[t], w[t + 1], wide);
  if (t < n_taps)
    add_tap_pair (sums, vi_load (src), vi_set1 (0), w[t], 0, wide);
  store_block (dst, sums, precision, wide);
}

static void
resize_column (uint8_t *dst, const uint8_t *src, size_t src_stride, int count,
    const ResizeAxis *axis, int i)
{
  const uint8_t *rows = src + (size_t) axis->first[i] * src_stride;
  const int32_t *w = axis->weight + (size_t) i * axis->max_taps;

  for (int x = 0; x < count; x += SIMD_BYTES) {
    int at = x + SIMD_BYTES <= count ? x : count - SIMD_BYTES;

    if (axis->narrow)
      resize_block (dst + at, rows + at, src_stride, w, axis->n_taps[i],
          axis->precision, false);
    else
      resize_block (dst + at, rows + at, src_stride, w, axis->n_taps[i],
          axis->precision, true);
  }
}

static void
resize_columns_part (void *data, int from, int to, int thread)
{
  const CpuResize *r = data;
  int count = 3 * r->lines;

  for (int i = from; i < to; i++) {
    uint8_t *dst = r->dst + (size_t) i * count;

    if (count < SIMD_BYTES)
      cpu_resize_column (dst, r->src, r->src_stride, 0, count, r->axis, i);
    else
      resize_column (dst, r->src, r->src_stride, count, r->axis, i);
  }
}

static void
resize_columns (Device *dev, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int width, const ResizeAxis *axis)
{
  CpuResize r = { dst, src, src_stride, width, axis };

  cpu_run (dev, cpu_resize_cost (axis, width), axis->n_out, 0,
      resize_columns_part, &r);
}

void
SIMD_NAME (cpu_init_resize) (Ops *op)
{
  op->resize_rows = resize_rows;
  op->resize_columns = resize_columns;
}
