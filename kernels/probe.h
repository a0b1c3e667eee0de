/* probe.h - the peaks that speeds are measured against
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A peak is what the machine can do, so it is the best of all attempts, and
 * attempts should be spread over the time in which the measured code runs: on
 * a machine with other work, or a virtual one with neighbours, what can be
 * reached changes from second to second.
 */
#pragma once

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 0 where the device or the build cannot. */
typedef struct DeviceProbe {
  double f32_gflops;  /* matrix products: the best that any code reached, */
  double bf16_gflops; /* the device's own matmul or oneDNN's, at any shape */
  double int8_gops;   /* u8 x s8 */
  double read_gbs;    /* reading memory, all threads, whichever way is best;
                       * on a GPU copying it, bytes read and written */
} DeviceProbe;

/* What attempts need: matrices, and memory to read, several times as large as
 * the caches. Takes about 700 MiB while it lives; what does not fit is not
 * probed. One thread at a time uses it together with its device. */
typedef struct DeviceProber DeviceProber;

DeviceProber *device_prober_new (Device *dev);

/* Accepts NULL. */
void device_prober_free (DeviceProber *prober);

/* Tries everything once, some tenths of a second with all of the device's
 * threads, and raises *peaks where it did better. */
void device_prober_round (DeviceProber *prober, DeviceProbe *peaks);

/* A few rounds. */
void device_probe (Device *dev, DeviceProbe *probe);

#ifdef __cplusplus
}
#endif
