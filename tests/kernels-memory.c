/* kernels-memory.c - cases of the slots behind device.h
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels.h"

#include <string.h>

/* Buffers of a run are allocated, uploaded, downloaded and freed through
 * these slots, and the runner syncs and closes. */
static void
round_trip (Kt *kt, const int *size)
{
  float *x = kt_uniform (kt, size[0], 1);
  KtBuf buf = kt_array (kt, x, size[0] * sizeof *x);
  kt_work (kt, size[0] * sizeof *x, 0);
  KT_EACH (kt, dev, on)
  device_upload (dev, buf.on[on], x, size[0] * sizeof *x);
  kt_expect_same (kt, &buf, x);
}

static void
copy (Kt *kt, const int *size)
{
  float *x = kt_uniform (kt, size[0], 1);
  size_t bytes = size[0] * sizeof *x;
  KtBuf from = kt_array (kt, x, bytes), to = kt_array (kt, NULL, bytes);
  kt_work (kt, 2.0 * bytes, 0);
  KT_EACH (kt, dev, on)
  dev->op->copy (dev, to.on[on], from.on[on], bytes);
  kt_expect_same (kt, &to, x);
}

/* Two fetches, there once a download behind them is. */
static void
fetch (Kt *kt, const int *size)
{
  size_t bytes = size[0] * sizeof (float);
  float *x = kt_uniform (kt, size[0], 1), one;
  KtBuf from = kt_array (kt, x, bytes);
  for (int on = 0; on < kt_n_devices (kt); on++) {
    Device *dev = kt_device (kt, on);
    char *host = device_host_alloc (dev, 2 * bytes);
    if (!host || (uintptr_t) host % 64) {
      kt_fail (kt, "%p is not aligned to 64 bytes", host);
      continue;
    }
    device_fetch (dev, host, from.on[on], bytes);
    device_fetch (dev, host + bytes, from.on[on], bytes);
    device_download (dev, &one, from.on[on], sizeof one);
    if (one != x[0] || memcmp (host, x, bytes) ||
        memcmp (host + bytes, x, bytes))
      kt_fail (kt, "what was fetched differs");
    device_host_free (dev, host);
  }
}

/* A device has its own clock, or runs behind the host's. */
static void
marks (Kt *kt, const int *size)
{
  float *x = kt_uniform (kt, size[0], 1), one;
  KtBuf buf = kt_array (kt, x, size[0] * sizeof *x);
  for (int round = 0; round < 2; round++)
    KT_EACH (kt, dev, on)
    {
      device_mark (dev, 1);
      dev->op->copy (dev, (char *) buf.on[on] + 4, buf.on[on], 4);
      device_mark (dev, 0);
      device_download (dev, &one, buf.on[on], sizeof one);
      double us = device_marked_us (dev, 1, 0);
      if (!(us >= 0 && us < 1e9))
        kt_fail (kt, "%g microseconds between two marks", us);
    }
}

static void
alignment (Kt *kt, const int *size)
{
  for (int on = 0; on < kt_n_devices (kt); on++) {
    Device *dev = kt_device (kt, on);
    void *ptr = device_alloc (dev, size[0]);
    if (!ptr || (uintptr_t) ptr % 64)
      kt_fail (kt, "%p is not aligned to 64 bytes", ptr);
    device_free (dev, ptr);
  }
}

static void
refusal (Kt *kt, const int *size)
{
  for (int on = 0; on < kt_n_devices (kt); on++) {
    Device *dev = kt_device (kt, on);
    size_t room = device_memory_free (dev);
    void *ptr = device_alloc (dev, SIZE_MAX / 4);
    DeviceStatus status;
    if (ptr || device_sync (dev, &status) || status.code != DEVICE_NO_MEMORY ||
        !status.message[0] || status.needed_bytes != SIZE_MAX / 4)
      kt_fail (kt, "an absurd allocation was not refused");
    if (room == 0)
      kt_fail (kt, "no memory free");
    memset (&dev->status, 0, sizeof dev->status);
  }
}

/* y = silu (rms_norm (x)) up, [n,d], x overwritten. */
typedef struct TwoOps {
  Act *y;
  Residual *x;
  const float *w, *up;
  int n, d;
} TwoOps;

static void
two_ops (Device *dev, const TwoOps *t)
{
  dev->op->rms_norm_residual (dev, t->x, t->w, t->n, t->d, 1e-5f);
  dev->op->swiglu (dev, t->y, t->x, t->up, (size_t) t->n * t->d);
}

static void
recorded_ops (Device *dev, const DeviceKey *key, bool all, const TwoOps *t)
{
  if (device_replay (dev, key))
    return;
  device_record (dev, key);
  two_ops (dev, t);
  device_recorded (dev, all);
}

/* Whatever is replayed sees what memory holds then, in the order of the calls
 * around it. */
static void
recording (Kt *kt, const int *size)
{
  int n = size[0], d = size[1], all = !size[2];
  size_t count = (size_t) n * d;
  KtBuf w = kt_array (kt, kt_uniform (kt, d, 1), d * sizeof (float));
  KtBuf x = kt_residual (kt, NULL, count), same = kt_residual (kt, NULL, count);
  KtBuf up = kt_residual (kt, NULL, count);
  KtBuf y = kt_acts (kt, NULL, count), wanted = kt_acts (kt, NULL, count);
  TwoOps again = { y.on[0], x.on[0], w.on[0], up.on[0], n, d }, once = again;
  Device *dev = kt_device (kt, 0);
  DeviceKey key = { { &w, &x }, { n, d } };
  unsigned before = dev->n_replays;
  once.y = wanted.on[0];
  once.x = same.on[0];
  for (int round = 0; round < 5; round++) {
    KtBuf fresh = kt_residual (kt, kt_uniform (kt, count, 1), count);
    dev->op->copy (dev, x.on[0], fresh.on[0], count * sizeof (Residual));
    dev->op->copy (dev, same.on[0], fresh.on[0], count * sizeof (Residual));
    recorded_ops (dev, &key, all, &again);
    two_ops (dev, &once);
    if (memcmp (kt_read (kt, &y, 0), kt_read (kt, &wanted, 0), count * 4))
      kt_fail (kt, "round %d differs", round);
  }
  if (dev->n_replays - before != (dev->records && all ? 3 : 0))
    kt_fail (kt, "%u rounds were replayed", dev->n_replays - before);
  device_forget (dev, &x);
  if (device_replay (dev, &key))
    kt_fail (kt, "what was forgotten is replayed");
}

const KtCase kt_cases_memory[] = {
  { KT_SLOT (alloc), alignment, .sizes = { { 1 }, { 100 }, { 9000000 } } },
  { KT_SLOT (free), alignment, .sizes = { { 4096 } } },
  { KT_SLOT (memory_free), refusal, .sizes = { { 1 } } },
  { KT_SLOT (upload), round_trip, .sizes = { { 1 }, { 577 }, { 70000 } } },
  { KT_SLOT (download), round_trip, .sizes = { { 577 } } },
  { KT_SLOT (host_alloc), fetch, .sizes = { { 1 }, { 577 } } },
  { KT_SLOT (host_free), fetch, .sizes = { { 64 } } },
  { KT_SLOT (fetch), fetch, .sizes = { { 577 }, { 70000 } } },
  { KT_SLOT (mark), marks, .sizes = { { 2 } } },
  { KT_SLOT (marked_us), marks, .sizes = { { 577 } } },
  { KT_SLOT (copy), copy, .sizes = { { 1 }, { 577 }, { 70000 } } },
  { KT_SLOT (sync), refusal, .sizes = { { 1 } } },
  { KT_SLOT (close), round_trip, .sizes = { { 1 } } },
  { KT_SLOT (replay), recording, .sizes = { { 1, 8 }, { 33, 577 } } },
  { KT_SLOT (record), recording, .sizes = { { 3, 64 } } },
  { KT_SLOT (recorded), recording, .sizes = { { 2, 32, 1 } } },
  { KT_SLOT (forget), recording, .sizes = { { 5, 40 } } },
  { NULL },
};
