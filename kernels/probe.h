/* probe.h - the peaks that speeds are measured against
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Attempts should be spread over the time in which the measured code runs: on
 * a machine with other work, or a virtual one with neighbours, what can be
 * reached changes from second to second. Then compare like with like: the least
 * time with the best attempt, a median with the median one.
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

/* One attempt at products in every way, some tenths of a second with all of the
 * device's threads. This and the next do nothing for NULL. */
void device_prober_multiply (DeviceProber *prober);

/* One attempt at reading memory in every way, some hundredths of a second;
 * returns the GB/s of the one that did best, 0 if there is no memory for it. */
double device_prober_read (DeviceProber *prober);

/* Of all attempts so far, each limit by the way that did best: its best
 * attempt, or its median one. All 0 for NULL. */
DeviceProbe device_prober_best (DeviceProber *prober);
DeviceProbe device_prober_median (DeviceProber *prober);

/* The best of a few rounds. */
DeviceProbe device_probe (Device *dev);

#ifdef __cplusplus
}
#endif
