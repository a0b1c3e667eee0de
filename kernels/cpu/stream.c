/* stream.c - reading memory on all threads
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/stream.h"

#include "kernels/cpu/variants.h"

#include <stdatomic.h>

#define PIECE ((size_t) 1 << 20)

typedef uint32_t (*StreamPiece) (const char *data, size_t bytes, bool four);

typedef struct Stream {
  const char *data;
  bool four;
  StreamPiece piece;
  _Atomic uint32_t sum;
} Stream;

/* One walk for both: a baseline compiler has no better one. */
static uint32_t
stream_plain (const char *data, size_t bytes, bool four)
{
  const uint32_t *words = (const uint32_t *) data;
  uint32_t sum[16] = { 0 }, total = 0;
  for (size_t i = 0; i + 16 <= bytes / sizeof *words; i += 16)
    for (int j = 0; j < 16; j++)
      sum[j] += words[i + j];
  for (int j = 0; j < 16; j++)
    total += sum[j];
  return total;
}

static StreamPiece
piece_of (const Device *dev)
{
  const Cpu *cpu = dev->backend;
#ifdef __x86_64__
  if (cpu->level >= CPU_LEVEL_AVX512)
    return cpu_stream_avx512;
  if (cpu->level >= CPU_LEVEL_AVX2)
    return cpu_stream_avx2;
#endif
  return stream_plain;
}

static void
stream_pieces (void *data, int from, int to, int thread)
{
  Stream *stream = data;
  for (int i = from; i < to; i++)
    stream->sum +=
        stream->piece (stream->data + i * PIECE, PIECE, stream->four);
}

uint32_t
cpu_stream (Device *dev, const void *data, size_t bytes, CpuWalk walk)
{
  Stream stream = { data, walk == CPU_WALK_FOUR, piece_of (dev), 0 };
  cpu_run (dev, bytes, (int) (bytes / PIECE), 1, stream_pieces, &stream);
  return stream.sum;
}
