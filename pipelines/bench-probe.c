/* bench-probe.c - the peaks that phases are measured against
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "pipelines/bench.h"

#define SIDE 4096
#define READ_BYTES ((gsize) 512 << 20)
#define RUNS 3

/* count activations of device memory, of either width. */
static Act *
make_activations (Device *dev, const float *values, gsize count)
{
  Act *x = device_alloc (dev, count * dev->act_bytes);
  g_autofree guint16 *halves = NULL;

  if (!x)
    return NULL;
  if (dev->act_bytes == sizeof (float)) {
    device_upload (dev, x, values, count * sizeof (float));
    return x;
  }
  halves = g_new (guint16, count);
  for (gsize i = 0; i < count; i++) {
    guint32 bits;

    memcpy (&bits, &values[i], sizeof bits);
    halves[i] = bits >> 16;
  }
  device_upload (dev, x, halves, count * sizeof *halves);
  return x;
}

/* The best of a few products, in operations per second / 1e9. */
static double
probe_products (Device *dev, DataType type)
{
  gsize count = (gsize) SIDE * SIDE;
  g_autofree float *values = g_new (float, count);
  Act *x, *y = device_alloc (dev, count * dev->act_bytes);
  gint64 best = G_MAXINT64;
  Mat w;

  for (gsize i = 0; i < count; i++)
    values[i] = (float) (i % 251) / 251 - 0.5f;
  x = make_activations (dev, values, count);
  dev->op->mat_init (dev, &w, type, values, TYPE_F32, SIDE, SIDE, NULL);
  for (int run = 0; x && y && w.rows && run < RUNS; run++) {
    gint64 start = g_get_monotonic_time ();

    dev->op->matmul (dev, y, x, &w, SIDE, EPILOGUE_SET);
    device_sync (dev, NULL);
    best = MIN (best, g_get_monotonic_time () - start);
  }
  dev->op->mat_clear (dev, &w);
  device_free (dev, x);
  device_free (dev, y);
  return best == G_MAXINT64 ? 0 : 2.0 * SIDE * SIDE * SIDE / best / 1e3;
}

static guint64
sum_words (const guint64 *words, gsize count)
{
  guint64 sum[8] = { 0 };

  for (gsize i = 0; i < count; i += 8)
    for (int j = 0; j < 8; j++)
      sum[j] += words[i + j];
  return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

static guint64
sum_all (const guint64 *words, gsize count, int n_threads)
{
  gsize part = count / n_threads / 8 * 8;
  guint64 sum = 0;

#pragma omp parallel for num_threads(n_threads) reduction(+ : sum)
  for (int i = 0; i < n_threads; i++)
    sum += sum_words (words + i * part, part);
  return sum;
}

static double
probe_read (const Device *dev)
{
  gsize count = READ_BYTES / sizeof (guint64);
  guint64 *words = g_try_malloc (READ_BYTES);
  gint64 best = G_MAXINT64;
  volatile guint64 sum;

  if (!words)
    return 0;
  memset (words, 1, READ_BYTES);
  for (int run = 0; run <= RUNS; run++) {
    gint64 start = g_get_monotonic_time ();

    sum = sum_all (words, count, dev->n_threads);
    best = MIN (best, g_get_monotonic_time () - start);
  }
  g_free (words);
  (void) sum;
  return READ_BYTES / 1e3 / best;
}

void
bench_probe (Device *dev, BenchProbes *probes)
{
  *probes = (BenchProbes){
    .f32_gflops = probe_products (dev, TYPE_F32),
    .bf16_gflops = dev->has_bf16 ? probe_products (dev, TYPE_BF16) : 0,
    .read_gbs = dev->act_bytes == sizeof (float) ? probe_read (dev) : 0,
  };
}
