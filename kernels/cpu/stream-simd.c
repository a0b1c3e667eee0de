/* stream-simd.c - reading memory, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/integer-simd.h"

#include "kernels/cpu/variants.h"

#define LINE 64
#define LOADS (LINE / SIMD_BYTES) /* of a line */
#define AHEAD 512                 /* bytes prefetched ahead of each place */

SIMD_INLINE vi
add_line (vi sum, const char *line)
{
  for (int i = 0; i < LOADS; i++)
    sum = vi_add (sum, vi_load (line + i * SIMD_BYTES));
  return sum;
}

/* A line after the other of each of n places, `bytes` / n apart. */
SIMD_INLINE uint32_t
stream_places (const char *data, size_t bytes, const int n, bool prefetch)
{
  vi sum[4] = { vi_set1 (0), vi_set1 (0), vi_set1 (0), vi_set1 (0) };
  uint32_t lanes[SIMD_LANES], total = 0;
  size_t part = bytes / n;
  for (size_t at = 0; at < part; at += LINE * 4 / n)
    for (int i = 0; i < 4; i++) {
      const char *line = data + (n == 4 ? i * part + at : at + i * LINE);
      if (prefetch)
        __builtin_prefetch (line + AHEAD);
      sum[i] = add_line (sum[i], line);
    }
  vi_store (lanes, vi_add (vi_add (sum[0], sum[1]), vi_add (sum[2], sum[3])));
  for (int i = 0; i < SIMD_LANES; i++)
    total += lanes[i];
  return total;
}

uint32_t
SIMD_NAME (cpu_stream) (const char *data, size_t bytes, bool four)
{
  return four ? stream_places (data, bytes, 4, true)
              : stream_places (data, bytes, 1, false);
}
