/* probe.c - measures the peaks of a device
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/probe.h"

#include "kernels/cpu/convert.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/stream.h"
#include "kernels/ops.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define N_ROUNDS 5
#define N_READS 3 /* in a round */
#define READ_BYTES ((size_t) 512 << 20)

/* oneDNN's threads stay awake for some milliseconds after a product. */
#define REST_NS 20000000

/* Matrix products y[n,rows] = x[n,cols] W^T: a cube, and one as networks have
 * it, short enough to find a quiet moment. On a GPU so many one after another
 * that waiting for the last is little of it. */
typedef struct Shape {
  int n, rows, cols;
  int n_tries; /* in a round */
  int n_queued;
} Shape;
#define N_SHAPES 2

typedef struct Scale {
  size_t count; /* no operand is larger */
  Shape shapes[N_SHAPES];
} Scale;

static const Scale cpu_scale = { (size_t) 2048 * 2048,
  { { 2048, 2048, 2048, 1, 1 }, { 512, 4096, 1024, 4, 1 } } };
static const Scale gpu_scale = { (size_t) 4096 * 4096,
  { { 4096, 4096, 4096, 2, 8 }, { 2944, 4096, 4096, 2, 8 } } };

/* A GPU's memory, copied: rows of it, and so often before waiting. */
#define COPY_BYTES ((size_t) 192 << 20)
#define COPY_WIDTH 4096
#define N_COPIES 8

/* What one way to reach a limit got each time, in 1e9 a second. */
#define MOST_RATES 1024
typedef struct Way {
  double rates[MOST_RATES];
  int n;
} Way;

/* Products: our own of each shape and oneDNN's; reading: the walks. */
#define OF_ONEDNN N_SHAPES
#define N_WAYS (2 * N_SHAPES)
typedef struct Limit {
  Way ways[N_WAYS];
} Limit;

/* Products with weights of one type. */
typedef struct Contest {
  DataType type;
  Limit *limit;
  Mat w[N_SHAPES];       /* in the device's own arrangement */
  void *host_x, *host_w; /* oneDNN's; any arrangement will do */
} Contest;

struct DeviceProber {
  Device *dev;
  const Scale *scale;
  Onednn *onednn;
  Contest f32, bf16;
  Act *x, *y; /* scale->count each */
  void *host_y;
  void *memory; /* to read */
  size_t bytes;
  Act *from, *to; /* to copy */
  Limit f32_products, bf16_products, int8_products, reading;
};

static double
now_s (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double
keep (Limit *limit, int way, double rate)
{
  Way *w = &limit->ways[way];
  if (w->n < MOST_RATES)
    w->rates[w->n++] = rate;
  return rate;
}

static double
larger (double a, double b)
{
  return a > b ? a : b;
}

static bool
is_cpu (const Device *dev)
{
  return !strncmp (dev->name, "cpu", 3);
}

/* Plain C is not asked: it would take minutes. */
static bool
is_plain (const Device *dev)
{
  return !strncmp (dev->name, "cpu (plain", 10);
}

/* ---- products ---- */

static double
rate_since (double start, const Shape *s)
{
  return 2e-9 * s->n * s->rows * s->cols / (now_s () - start);
}

static void
try_own (DeviceProber *p, const Contest *c, int shape)
{
  Device *dev = p->dev;
  const Mat *w = &c->w[shape];
  const Shape *s = &p->scale->shapes[shape];
  double start = now_s ();
  if (!w->rows || !p->x || !p->y)
    return;
  for (int i = 0; i < s->n_queued; i++)
    dev->op->matmul (dev, p->y, p->x, w, s->n, EPILOGUE_SET);
  if (device_sync (dev, NULL))
    keep (c->limit, shape, s->n_queued * rate_since (start, s));
}

static void
try_onednn (DeviceProber *p, const Contest *c, int shape)
{
  const Shape *s = &p->scale->shapes[shape];
  double start = now_s ();
  if (c->host_x && c->host_w && p->host_y &&
      onednn_matmul (p->onednn, c->type, p->host_y, c->host_x, c->host_w, s->n,
          s->rows, s->cols, p->dev->n_threads))
    keep (c->limit, OF_ONEDNN + shape, rate_since (start, s));
}

static void
try_int8 (DeviceProber *p, int shape)
{
  const Shape *s = &p->scale->shapes[shape];
  double start = now_s ();
  if (p->f32.host_x && p->f32.host_w && p->host_y &&
      onednn_matmul_int8 (p->host_y, p->f32.host_x, p->f32.host_w, s->n,
          s->rows, s->cols, p->dev->n_threads))
    keep (&p->int8_products, OF_ONEDNN + shape, rate_since (start, s));
}

static void *
values_new (size_t count, DataType type, int period)
{
  void *x = malloc (count * data_type_bytes (type));
  for (size_t i = 0; x && i < count; i++)
    f32_to_type (x, type, i, (float) (i % period) / period - 0.5f);
  return x;
}

static void
contest_init (
    Contest *c, Device *dev, const Scale *scale, DataType type, Limit *limit)
{
  const Shape *s = scale->shapes;
  c->type = type;
  c->limit = limit;
  c->host_x = values_new (scale->count, type, 251);
  c->host_w = values_new (scale->count, type, 127);
  for (int i = 0; c->host_w && !is_plain (dev) && i < N_SHAPES; i++)
    dev->op->mat_init (
        dev, &c->w[i], type, c->host_w, type, s[i].rows, s[i].cols, NULL);
}

static void
contest_clear (Contest *c, Device *dev)
{
  for (int i = 0; i < N_SHAPES; i++)
    if (c->w[i].rows)
      dev->op->mat_clear (dev, &c->w[i]);
  free (c->host_x);
  free (c->host_w);
}

/* ---- reading ---- */

/* Four times the last cache, half of what is free at most. */
static size_t
bytes_to_read (Device *dev)
{
  size_t bytes = READ_BYTES;
#ifdef _SC_LEVEL3_CACHE_SIZE
  long cache = sysconf (_SC_LEVEL3_CACHE_SIZE);
  if (cache > 0 && 4 * (size_t) cache > bytes)
    bytes = 4 * (size_t) cache;
#endif
  while (bytes > device_memory_free (dev) / 2)
    bytes /= 2;
  return bytes;
}

static double
try_reading (DeviceProber *p)
{
  volatile uint32_t sum;
  double best = 0;
  for (int walk = 0; p->memory && walk < CPU_N_WALKS; walk++) {
    double start = now_s ();
    sum = cpu_stream (p->dev, p->memory, p->bytes, walk);
    double rate = 1e-9 * p->bytes / (now_s () - start);
    best = larger (best, keep (&p->reading, walk, rate));
  }
  (void) sum;
  return best;
}

/* A copy reads and writes. */
static double
try_copying (DeviceProber *p)
{
  Device *dev = p->dev;
  size_t row = COPY_WIDTH * dev->act_bytes;
  int n = (int) (COPY_BYTES / row);
  double start = now_s ();
  if (!p->from || !p->to)
    return 0;
  for (int i = 0; i < N_COPIES; i++)
    dev->op->copy_columns (dev, p->to, p->from, n, row, row, 0);
  if (!device_sync (dev, NULL))
    return 0;
  return keep (
      &p->reading, 0, 2e-9 * N_COPIES * COPY_BYTES / (now_s () - start));
}

/* ---- all of it ---- */

static void
fill_x (DeviceProber *p)
{
  Device *dev = p->dev;
  DataType type = dev->act_bytes == 4 ? TYPE_F32 : TYPE_BF16;
  size_t bytes = p->scale->count * dev->act_bytes;
  void *values = values_new (p->scale->count, type, 251);
  p->x = device_alloc (dev, bytes);
  p->y = device_alloc (dev, bytes);
  if (values && p->x)
    device_upload (dev, p->x, values, bytes);
  free (values);
}

DeviceProber *
device_prober_new (Device *dev)
{
  DeviceProber *p = calloc (1, sizeof *p);
  if (!p)
    return NULL;
  p->dev = dev;
  p->scale = is_cpu (dev) ? &cpu_scale : &gpu_scale;
  fill_x (p);
  contest_init (&p->f32, dev, p->scale, TYPE_F32, &p->f32_products);
  if (dev->has_bf16)
    contest_init (&p->bf16, dev, p->scale, TYPE_BF16, &p->bf16_products);
  if (!is_cpu (dev)) {
    p->from = device_alloc (dev, COPY_BYTES);
    p->to = device_alloc (dev, COPY_BYTES);
    return p;
  }
  p->onednn = onednn_new ();
  p->host_y = malloc (p->scale->count * sizeof (float));
  p->bytes = bytes_to_read (dev);
  p->memory = cpu_bytes_new (p->bytes);
  if (p->memory)
    memset (p->memory, 1, p->bytes);
  return p;
}

void
device_prober_free (DeviceProber *p)
{
  if (!p)
    return;
  contest_clear (&p->f32, p->dev);
  contest_clear (&p->bf16, p->dev);
  device_free (p->dev, p->x);
  device_free (p->dev, p->y);
  device_free (p->dev, p->from);
  device_free (p->dev, p->to);
  onednn_free (p->onednn);
  free (p->host_y);
  free (p->memory);
  free (p);
}

static void
try_products (DeviceProber *p, int shape, bool onednn)
{
  for (int i = 0; i < p->scale->shapes[shape].n_tries; i++)
    if (onednn) {
      try_onednn (p, &p->f32, shape);
      try_onednn (p, &p->bf16, shape);
      try_int8 (p, shape);
    } else {
      try_own (p, &p->f32, shape);
      try_own (p, &p->bf16, shape);
    }
}

/* oneDNN comes last, for the sake of whoever comes next. */
void
device_prober_multiply (DeviceProber *p)
{
  const struct timespec rest = { .tv_nsec = REST_NS };
  if (!p)
    return;
  for (int i = 0; i < N_SHAPES; i++)
    try_products (p, i, false);
  if (!is_cpu (p->dev))
    return;
  for (int i = 0; i < N_SHAPES; i++)
    try_products (p, i, true);
  nanosleep (&rest, NULL);
}

double
device_prober_read (DeviceProber *p)
{
  return p ? larger (try_reading (p), try_copying (p)) : 0;
}

/* ---- what came of it ---- */

static int
compare_rates (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

/* Of the way that did best by this measure; sorts the rates. */
static double
limit_of (Limit *limit, bool median)
{
  double most = 0;
  for (int i = 0; i < N_WAYS; i++) {
    Way *w = &limit->ways[i];
    if (!w->n)
      continue;
    qsort (w->rates, w->n, sizeof *w->rates, compare_rates);
    most = larger (most, w->rates[median ? w->n / 2 : w->n - 1]);
  }
  return most;
}

static DeviceProbe
probe_of (DeviceProber *p, bool median)
{
  if (!p)
    return (DeviceProbe){ 0 };
  return (DeviceProbe){
    .f32_gflops = limit_of (&p->f32_products, median),
    .bf16_gflops = limit_of (&p->bf16_products, median),
    .int8_gops = limit_of (&p->int8_products, median),
    .read_gbs = limit_of (&p->reading, median),
  };
}

DeviceProbe
device_prober_best (DeviceProber *p)
{
  return probe_of (p, false);
}

DeviceProbe
device_prober_median (DeviceProber *p)
{
  return probe_of (p, true);
}

DeviceProbe
device_probe (Device *dev)
{
  DeviceProber *prober = device_prober_new (dev);
  for (int i = 0; i < N_ROUNDS; i++) {
    for (int j = 0; j < N_READS; j++)
      device_prober_read (prober);
    device_prober_multiply (prober);
  }
  DeviceProbe probe = device_prober_best (prober);
  device_prober_free (prober);
  return probe;
}
