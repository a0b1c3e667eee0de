/* golden-run.h - a checkpoint folder's networks, run level by level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "engine/decoder.h"
#include "engine/image.h"
#include "engine/places.h"
#include "engine/projector.h"
#include "engine/vision.h"
#include "tests/golden-load.h"

typedef struct {
  Device *dev;
  VlmModel *model;
  VlmTiler *tiler[2]; /* by VlmResampling, made when first used */
  VlmVision *vision;
  VlmProjector *projector;
  VlmDecoder *decoder;
  VlmKvPool *pool;
  VlmFineStore *fine; /* for one picture, of families that zoom */
  int max_sequence;
  int image_id; /* the tokenizer's <image> */

  /* of the last picture; host copies are owned */
  VlmTileGeometry geometry;
  int n_tiles;
  const float *lut;
  VlmVisionJob job;
  VlmSelection selection; /* arrays owned */
  const Act *features;
  const guint8 *tiles;
  Residual *x; /* [max_sequence,D] */
  int n_rows;
  VlmPlaces places;
  gboolean in_place; /* asked for, and something was dropped */
  int skipped;
} GoldenRun;

/* Loads a folder with weights of `type` on `device`; fails the test if it
 * cannot. */
GoldenRun *golden_run_new (
    const char *device, const char *folder, DataType type);
void golden_run_free (GoldenRun *run);

/* A picture to tiles. */
void golden_run_look (
    GoldenRun *run, const GoldenPicture *picture, VlmResampling resampling);

/* The tiles to kept features. */
void golden_run_see (GoldenRun *run, const GoldenAsk *ask);

/* Normalised tiles as the reference feeds them: [t,3,T,T], owned. */
float *golden_run_pixels (GoldenRun *run);

/* Features [n, C*layers] to the host, owned; n is the selection's, class
 * token included. */
float *golden_run_features (GoldenRun *run, int *n);

/* Splices the picture for image_id in ids and prefills; image rows
 * [*n_rows,D] to the host in *rows, owned, if not NULL. */
void golden_run_splice (
    GoldenRun *run, const int *ids, int n, float **rows, int *n_rows);

/* Greedy continuation of the spliced prompt: up to `most` ids, stopping after
 * an eos id, and their logits [.,V] (may be NULL). Returns their number. */
int golden_run_generate (GoldenRun *run, int most, int *ids, float *logits);
