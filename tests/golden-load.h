/* golden-load.h - what a golden folder holds; see make-golden.py
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>
#include "engine/image.h"

typedef struct {
  int *values; /* owned */
  int n;
} GoldenInts;

typedef struct {
  char *policy;
  double budget, cut_margin, margin;
  GoldenInts order, per_tile, ids;
} GoldenKept;

typedef struct {
  int width, height, seed;
  char *question, *rendered;
  GoldenInts prompt_ids, ids;
  guint32 pixels_crc;
  int image_tokens;
  double margin;
  int n_kept;
  GoldenKept *kept;
} GoldenCase;

typedef struct {
  char *folder;
  VlmResampling resampling;
  int n_cases;
  GoldenCase *cases;
  char *bytes;       /* of golden.safetensors */
  GPtrArray *arrays; /* VlmTensor */
} Golden;

/* NULL if the folder has no golden.json. */
Golden *golden_load (const char *folder);
void golden_free (Golden *golden);

/* Array `name` of case i, f32, and its number of values. */
const float *golden_array (
    const Golden *golden, int i, const char *name, gsize *n);

/* The picture of a case, as make-golden.py's picture(); owned. */
guint8 *golden_picture (const GoldenCase *c);

/* zlib's CRC-32. */
guint32 golden_crc (gconstpointer bytes, gsize n);
