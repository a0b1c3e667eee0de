/* golden-load.h - what a golden folder holds; see make-golden.py
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>
#include "engine/policy.h"

typedef struct {
  int *values; /* owned */
  int n;
} GoldenInts;

/* What is asked of a policy; parameters not named have their defaults. */
typedef struct {
  const char *policy;
  double budget;
  gboolean in_place; /* positions are those of the whole prompt */
  int n_params;
  struct {
    char *name; /* owned */
    double value;
  } param[VLM_POLICY_MAX_PARAMS];
} GoldenAsk;

typedef struct {
  GoldenAsk ask;
  double cut_margin, margin;
  GoldenInts order, per_tile, lines, ids;
  float *means; /* [order.n] of each row's features; NULL if not given; owned */
} GoldenKept;

typedef struct {
  int width, height, seed;
  guint32 crc[2]; /* by VlmResampling, of the normalised tiles */
  int image_tokens;
} GoldenPicture;

typedef struct {
  GoldenPicture picture;
  char *question, *rendered;
  GoldenInts prompt_ids, ids;
  double margin;
  int n_kept;
  GoldenKept *kept;
} GoldenCase;

typedef struct {
  char *folder;
  VlmResampling resampling;
  int n_cases;
  GoldenCase *cases;
  int n_pictures;
  GoldenPicture *pictures; /* without a case */
  char *bytes;             /* of golden.safetensors */
  GPtrArray *arrays;       /* VlmTensor */
} Golden;

/* NULL if the folder has no golden.json. */
Golden *golden_load (const char *folder);
void golden_free (Golden *golden);

/* Array `name` of case i, f32, and its number of values. */
const float *golden_array (
    const Golden *golden, int i, const char *name, gsize *n);

/* Pixels [height,width,3] as of make-golden.py's picture(); owned. */
guint8 *golden_draw (const GoldenPicture *picture);

/* zlib's CRC-32. */
guint32 golden_crc (gconstpointer bytes, gsize n);
