/* probe.c - measures the peaks of a device
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The best of a few runs each: a peak is what the machine can do, not what it
 * did while something else was running.
 */
#include "kernels/probe.h"

#include "kernels/cpu/convert.h"
#include "kernels/cpu/onednn.h"
#include "kernels/ops.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIDE 2048 /* of the matrices; a multiple of 64 */
#define N_RUNS 4
#define N_READS 12
#define READ_BYTES ((size_t) 512 << 20)

static double
now_s (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

/* One way of computing y = x W^T with SIDE rows and columns each. */
typedef struct Contest {
  Device *dev;
  DataType type;
  Onednn *onednn;
  Act *x, *y;
  Mat w;
  void *host_x, *host_w, *host_y; /* for oneDNN, any arrangement will do */
} Contest;

static bool
run_own (Contest *c)
{
  if (!c->x || !c->y || !c->w.rows)
    return false;
  c->dev->op->matmul (c->dev, c->y, c->x, &c->w, SIDE, EPILOGUE_SET);
  return device_sync (c->dev, NULL);
}

static bool
run_onednn (Contest *c)
{
  return onednn_matmul (c->onednn, c->type, c->host_y, c->host_x, c->host_w,
      SIDE, SIDE, SIDE, c->dev->n_threads);
}

static bool
run_int8 (Contest *c)
{
  return onednn_matmul_int8 (
      c->host_y, c->host_x, c->host_w, SIDE, SIDE, SIDE, c->dev->n_threads);
}

/* Operations per second / 1e9, 0 if it cannot. */
static double
best_rate (Contest *c, bool (*run) (Contest *))
{
  double best = 0;
  for (int i = 0; i <= N_RUNS; i++) {
    double start = now_s ();
    if (!run (c))
      return 0;
    double rate = 2e-9 * SIDE * SIDE * SIDE / (now_s () - start);
    best = rate > best ? rate : best;
  }
  return best;
}

static bool
contest_init (Contest *c, Device *dev, DataType type)
{
  size_t count = (size_t) SIDE * SIDE;
  DataType acts = dev->act_bytes == 4 ? TYPE_F32 : TYPE_BF16;
  *c = (Contest){ .dev = dev, .type = type };
  c->host_x = malloc (count * 4);
  c->host_w = malloc (count * 4);
  c->host_y = malloc (count * 4);
  if (!c->host_x || !c->host_w || !c->host_y)
    return false;
  for (size_t i = 0; i < count; i++) {
    f32_to_type (c->host_x, acts, i, (float) (i % 251) / 251 - 0.5f);
    f32_to_type (c->host_w, type, i, (float) (i % 127) / 127 - 0.5f);
  }
  return true;
}

static void
contest_upload (Contest *c)
{
  Device *dev = c->dev;
  size_t bytes = (size_t) SIDE * SIDE * dev->act_bytes;
  c->x = device_alloc (dev, bytes);
  c->y = device_alloc (dev, bytes);
  if (c->x)
    device_upload (dev, c->x, c->host_x, bytes);
  dev->op->mat_init (dev, &c->w, c->type, c->host_w, c->type, SIDE, SIDE, NULL);
}

static void
contest_clear (Contest *c)
{
  onednn_free (c->onednn);
  device_free (c->dev, c->x);
  device_free (c->dev, c->y);
  c->dev->op->mat_clear (c->dev, &c->w);
  free (c->host_x);
  free (c->host_w);
  free (c->host_y);
}

static bool
is_cpu (const Device *dev)
{
  return !strncmp (dev->name, "cpu", 3);
}

/* Plain C is not asked: it would take minutes. */
static double
probe_products (Device *dev, DataType type)
{
  Contest c;
  double best = 0;
  if (contest_init (&c, dev, type)) {
    if (strncmp (dev->name, "cpu (plain", 10)) {
      contest_upload (&c);
      best = best_rate (&c, run_own);
    }
    if (is_cpu (dev) && (c.onednn = onednn_new ())) {
      /* As bf16, x is what its upper halves make of it. */
      double rate = best_rate (&c, run_onednn);
      best = rate > best ? rate : best;
    }
  }
  contest_clear (&c);
  return best;
}

static double
probe_int8 (Device *dev)
{
  Contest c;
  double rate = 0;
  if (!is_cpu (dev))
    return 0;
  if (contest_init (&c, dev, TYPE_F32))
    rate = best_rate (&c, run_int8);
  contest_clear (&c);
  return rate;
}

static uint64_t
sum_words (const uint64_t *words, size_t count)
{
  uint64_t sum[16] = { 0 }, total = 0;
  for (size_t i = 0; i + 16 <= count; i += 16)
    for (int j = 0; j < 16; j++)
      sum[j] += words[i + j];
  for (int j = 0; j < 16; j++)
    total += sum[j];
  return total;
}

static uint64_t
sum_all (const uint64_t *words, size_t count, int n_threads)
{
  size_t part = count / n_threads;
  uint64_t sum = 0;
#pragma omp parallel for num_threads(n_threads) reduction(+ : sum)
  for (int i = 0; i < n_threads; i++)
    sum += sum_words (words + i * part, part);
  return sum;
}

static double
probe_read (Device *dev)
{
  uint64_t *words = device_alloc (dev, READ_BYTES);
  double best = 0;
  volatile uint64_t sum;
  if (!words)
    return 0;
  memset (words, 1, READ_BYTES);
  for (int i = 0; i <= N_READS; i++) {
    double start = now_s ();
    sum = sum_all (words, READ_BYTES / sizeof *words, dev->n_threads);
    double rate = 1e-9 * READ_BYTES / (now_s () - start);
    best = rate > best ? rate : best;
  }
  (void) sum;
  device_free (dev, words);
  return best;
}

void
device_probe (Device *dev, DeviceProbe *probe)
{
  memset (probe, 0, sizeof *probe);
  probe->f32_gflops = probe_products (dev, TYPE_F32);
  if (dev->has_bf16)
    probe->bf16_gflops = probe_products (dev, TYPE_BF16);
  probe->int8_gops = probe_int8 (dev);
  if (is_cpu (dev))
    probe->read_gbs = probe_read (dev);
}
