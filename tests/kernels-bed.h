/* kernels-bed.h - the runner's side of tests/kernels.h
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "tests/kernels.h"

#define KT_MAX_TIMES 1000

/* One thing to release after a run; unused members are NULL. */
typedef struct KtOwned {
  struct KtOwned *next;
  void *host;
  Device *dev;
  char *device;
  size_t bytes; /* of the device array, guards aside */
  KtMat *mat;
} KtOwned;

struct Kt {
  Device *dev[2];
  int n_devices;
  const char *name; /* of the slot */
  const int *size;
  KtFill fill;
  uint64_t seed;
  KtOwned *owned;
  int n_failures;

  bool timing;
  double bytes, flops; /* of one call */
  int n_times;
  double times[KT_MAX_TIMES]; /* microseconds */
  double started, call_started;
};

/* Checks the guards and frees all memory of the run. */
void kt_release (Kt *kt);
