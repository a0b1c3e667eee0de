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
        !status.message[0])
      kt_fail (kt, "an absurd allocation was not refused");
    if (room == 0)
      kt_fail (kt, "no memory free");
    memset (&dev->status, 0, sizeof dev->status);
  }
}

const KtCase kt_cases_memory[] = {
  { KT_SLOT (alloc), alignment, .sizes = { { 1 }, { 100 }, { 9000000 } } },
  { KT_SLOT (free), alignment, .sizes = { { 4096 } } },
  { KT_SLOT (memory_free), refusal, .sizes = { { 1 } } },
  { KT_SLOT (upload), round_trip, .sizes = { { 1 }, { 577 }, { 70000 } } },
  { KT_SLOT (download), round_trip, .sizes = { { 577 } } },
  { KT_SLOT (sync), refusal, .sizes = { { 1 } } },
  { KT_SLOT (close), round_trip, .sizes = { { 1 } } },
  { NULL },
};
