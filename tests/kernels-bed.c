/* kernels-bed.c - buffers, filling, timing and comparing of kernel tests
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels-bed.h"

#include "kernels/cpu/convert.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GUARD_BYTES 64
#define GUARD_BYTE 0xa5

/* Results below this may be flushed to zero on the way. */
#define TINY 1e-30

static void *
must (void *ptr)
{
  if (!ptr) {
    fprintf (stderr, "kernels: out of memory\n");
    exit (1);
  }
  return ptr;
}

static double
now_us (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec * 1e-3;
}

static KtOwned *
own (Kt *kt)
{
  KtOwned *owned = must (calloc (1, sizeof *owned));
  owned->next = kt->owned;
  return kt->owned = owned;
}

/* ---- access ---- */

int
kt_n_devices (const Kt *kt)
{
  return kt->n_devices;
}

Device *
kt_device (const Kt *kt, int on)
{
  return kt->dev[on];
}

bool
kt_timing (const Kt *kt)
{
  return kt->timing;
}

KtFill
kt_fill (const Kt *kt)
{
  return kt->fill;
}

void
kt_fail (Kt *kt, const char *format, ...)
{
  if (kt->n_failures++ > 4)
    return;
  printf ("not ok: %s (%s)", kt->name, kt->dev[0]->name);
  for (int i = 0; i < KT_N_SIZES && kt->size[i]; i++)
    printf (" %d", kt->size[i]);
  printf (", fill %d: ", kt->fill);
  va_list args;
  va_start (args, format);
  vprintf (format, args);
  va_end (args);
  printf ("\n");
}

/* ---- filling ---- */

static uint32_t
next_random (Kt *kt)
{
  kt->seed ^= kt->seed << 13;
  kt->seed ^= kt->seed >> 7;
  kt->seed ^= kt->seed << 17;
  return (uint32_t) (kt->seed >> 32);
}

int
kt_below (Kt *kt, int bound)
{
  return (int) (next_random (kt) % (uint32_t) bound);
}

void *
kt_bytes (Kt *kt, size_t bytes)
{
  return own (kt)->host = must (calloc (1, bytes + 1));
}

float *
kt_uniform (Kt *kt, size_t count, float scale)
{
  float *x = kt_bytes (kt, count * sizeof *x);
  for (size_t i = 0; i < count; i++)
    x[i] = scale * ((int32_t) next_random (kt) * 0x1p-31f);
  return x;
}

float *
kt_values (Kt *kt, size_t count)
{
  bool zeros = kt->fill == KT_ZERO || kt->fill == KT_ONE_HOT;
  float *x = zeros ? kt_bytes (kt, count * sizeof *x)
                   : kt_uniform (kt, count, kt->fill == KT_LARGE ? 1000 : 1);
  if (kt->fill == KT_ONE_HOT)
    x[kt_below (kt, (int) count)] = 8;
  if (kt->fill == KT_NAN)
    x[kt_below (kt, (int) count)] = NAN;
  return x;
}

float *
kt_rounded (Kt *kt, DataType type, const float *src, size_t count)
{
  float *x = kt_bytes (kt, count * sizeof *x);
  for (size_t i = 0; i < count; i++) {
    uint32_t stored;
    f32_to_type (&stored, type, 0, src[i]);
    x[i] = f32_of_type (&stored, type, 0);
  }
  return x;
}

/* ---- device arrays ---- */

static void *
guarded_new (Kt *kt, int on, size_t bytes)
{
  KtOwned *owned = own (kt);
  char guard[GUARD_BYTES];
  memset (guard, GUARD_BYTE, sizeof guard);
  owned->dev = kt->dev[on];
  owned->device = must (device_alloc (owned->dev, bytes + 2 * GUARD_BYTES));
  owned->bytes = bytes;
  device_upload (owned->dev, owned->device, guard, sizeof guard);
  device_upload (
      owned->dev, owned->device + GUARD_BYTES + bytes, guard, sizeof guard);
  return owned->device + GUARD_BYTES;
}

static void
check_guards (Kt *kt, const KtOwned *owned)
{
  unsigned char guard[2 * GUARD_BYTES];
  device_download (owned->dev, guard, owned->device, GUARD_BYTES);
  device_download (owned->dev, guard + GUARD_BYTES,
      owned->device + GUARD_BYTES + owned->bytes, GUARD_BYTES);
  for (int i = 0; i < 2 * GUARD_BYTES; i++)
    if (guard[i] != GUARD_BYTE) {
      kt_fail (kt, "wrote outside a buffer of %zu bytes", owned->bytes);
      return;
    }
}

KtBuf
kt_array (Kt *kt, const void *src, size_t bytes)
{
  KtBuf buf = { .count = bytes };
  void *pattern = NULL;
  if (!src)
    src = pattern = memset (must (malloc (bytes + 1)), 0x7b, bytes);
  for (int on = 0; on < kt->n_devices; on++) {
    buf.on[on] = guarded_new (kt, on, bytes);
    device_upload (kt->dev[on], buf.on[on], src, bytes);
  }
  free (pattern);
  return buf;
}

KtBuf
kt_residual (Kt *kt, const float *src, size_t count)
{
  return kt_array (kt, src, count * sizeof (Residual));
}

const float *
kt_held (Kt *kt, const float *src, size_t count)
{
  DataType type = kt->dev[0]->act_type;
  return type == TYPE_F32 ? src : kt_rounded (kt, type, src, count);
}

KtBuf
kt_acts (Kt *kt, const float *src, size_t count)
{
  KtBuf buf = { .count = count, .acts = true };
  src = kt_held (kt, src ? src : kt_uniform (kt, count, 100), count);
  for (int on = 0; on < kt->n_devices; on++) {
    Device *dev = kt->dev[on];
    DataType type = dev->act_type;
    void *stored = must (malloc (count * dev->act_bytes + 1));
    for (size_t i = 0; i < count; i++)
      f32_to_type (stored, type, i, src[i]);
    buf.on[on] = guarded_new (kt, on, count * dev->act_bytes);
    device_upload (dev, buf.on[on], stored, count * dev->act_bytes);
    free (stored);
  }
  return buf;
}

KtMat *
kt_mat (Kt *kt, DataType want, DataType src_type, const float *src, int rows,
    int cols, const float *bias)
{
  size_t count = (size_t) rows * cols;
  KtOwned *owned = own (kt);
  /* An odd address: mapped files promise no alignment. */
  owned->host = must (malloc (count * data_type_bytes (src_type) + 3));
  char *stored = (char *) owned->host + 2;
  for (size_t i = 0; i < count; i++) {
    uint32_t value = 0;
    f32_to_type (&value, src_type, 0, src[i]);
    memcpy (stored + i * data_type_bytes (src_type), &value,
        data_type_bytes (src_type));
  }
  owned->mat = must (calloc (1, sizeof *owned->mat));
  for (int on = 0; on < kt->n_devices; on++)
    kt->dev[on]->op->mat_init (kt->dev[on], &owned->mat->on[on], want, stored,
        src_type, rows, cols, bias);
  return owned->mat;
}

float *
kt_read (Kt *kt, const KtBuf *buf, int on)
{
  Device *dev = kt->dev[on];
  size_t bytes = buf->acts ? buf->count * dev->act_bytes : buf->count;
  void *stored = kt_bytes (kt, bytes);
  device_download (dev, stored, buf->on[on], bytes);
  if (!buf->acts || dev->act_type == TYPE_F32)
    return stored;
  float *x = kt_bytes (kt, buf->count * sizeof *x);
  for (size_t i = 0; i < buf->count; i++)
    x[i] = f32_of_type (stored, dev->act_type, i);
  return x;
}

void
kt_release (Kt *kt)
{
  while (kt->owned) {
    KtOwned *owned = kt->owned;
    kt->owned = owned->next;
    if (owned->device) {
      check_guards (kt, owned);
      device_free (owned->dev, owned->device);
    }
    if (owned->mat)
      for (int on = 0; on < kt->n_devices; on++)
        kt->dev[on]->op->mat_clear (kt->dev[on], &owned->mat->on[on]);
    free (owned->mat);
    free (owned->host);
    free (owned);
  }
}

/* ---- timing ---- */

void
kt_work (Kt *kt, double bytes, double flops)
{
  kt->bytes = bytes;
  kt->flops = flops;
}

/* Times single calls until 300 ms are spent, three at least; the runner takes
 * the median. The first call only warms up. */
static bool
time_again (Kt *kt)
{
  device_sync (kt->dev[0], NULL);
  double now = now_us ();
  if (kt->n_times < 0)
    kt->started = now;
  else if (kt->n_times < KT_MAX_TIMES)
    kt->times[kt->n_times] = now - kt->call_started;
  kt->n_times++;
  if (kt->n_times >= KT_MAX_TIMES ||
      (kt->n_times >= 3 && now - kt->started > 3e5))
    return false;
  kt->call_started = now_us ();
  return true;
}

int
kt_next (Kt *kt, int previous)
{
  if (kt->timing) {
    if (previous < 0) {
      kt->n_times = -1;
      return 0;
    }
    return time_again (kt) ? 0 : -1;
  }
  if (previous >= 0) {
    DeviceStatus status;
    if (!device_sync (kt->dev[previous], &status))
      kt_fail (kt, "the device failed: %s", status.message);
  }
  return previous + 1 < kt->n_devices ? previous + 1 : -1;
}

/* ---- comparing ---- */

static void
compare_row (Kt *kt, const float *got, const double *want, int row, int cols,
    double tolerance)
{
  double error = 0, norm = 0;
  for (int j = 0; j < cols; j++) {
    if (isnan (got[j]) != isnan (want[j])) {
      kt_fail (kt, "at %d,%d: %g, expected %g", row, j, got[j], want[j]);
      return;
    }
    if (isnan (want[j]) || got[j] == want[j])
      continue;
    error += (got[j] - want[j]) * (got[j] - want[j]);
    norm += want[j] * want[j];
  }
  for (int j = 0; j < cols; j++)
    if (!isnan (want[j]) && got[j] == want[j])
      norm += want[j] * want[j];
  if (!(error <= tolerance * tolerance * norm + TINY * TINY))
    kt_fail (kt, "row %d differs by %.2e of its norm, at most %.2e", row,
        sqrt (error / norm), tolerance);
}

/* Outputs of 8 or 11 bits are off by half a unit of the last; what a product
 * leaves is rounded again by its epilogue. */
static double
narrowing (const Device *dev)
{
  return dev->act_type == TYPE_F32   ? 0
         : dev->act_type == TYPE_F16 ? 0x1p-10
                                     : 0x1p-7;
}

void
kt_expect (Kt *kt, const KtBuf *got, const double *want, int rows, int cols,
    double tolerance)
{
  if (kt->timing)
    return;
  if (got->acts)
    tolerance += narrowing (kt->dev[0]);
  const float *x = kt_read (kt, got, 0);
  if (kt->n_devices > 1) {
    const float *plain = kt_read (kt, got, 1);
    double *exact = kt_bytes (kt, sizeof *exact * rows * cols);
    for (size_t i = 0; i < (size_t) rows * cols; i++)
      exact[i] = plain[i];
    want = exact;
  }
  for (int i = 0; i < rows; i++)
    compare_row (kt, x + (size_t) i * cols, want + (size_t) i * cols, i, cols,
        tolerance);
}

void
kt_expect_same (Kt *kt, const KtBuf *got, const void *want)
{
  if (kt->timing)
    return;
  const void *x = kt_read (kt, got, 0);
  if (kt->n_devices > 1)
    want = kt_read (kt, got, 1);
  size_t bytes = got->acts ? got->count * sizeof (float) : got->count;
  if (memcmp (x, want, bytes))
    kt_fail (kt, "differs from the exact result");
}
