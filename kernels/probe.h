/* probe.h - the peaks that speeds are measured against
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 0 where the device or the build cannot. */
typedef struct DeviceProbe {
  double f32_gflops;  /* matrix products: the best that any code reached, */
  double bf16_gflops; /* the device's own matmul or oneDNN's */
  double int8_gops;   /* u8 x s8 */
  double read_gbs;    /* reading memory from one end to the other */
} DeviceProbe;

/* Measures for a second or two with all of the device's threads. Takes about
 * 600 MiB meanwhile. */
void device_probe (Device *dev, DeviceProbe *probe);

#ifdef __cplusplus
}
#endif
