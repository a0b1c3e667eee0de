/* networks-vision.h - an encoder without savings, policies that do as told
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "engine/params.h"
#include "engine/vision.h"
#include "tests/networks.h"

#define C 32
#define F 80
#define SIDE 4
#define N (SIDE * SIDE)
#define HEADS 4
#define LAYERS 4
#define PIXELS (32 * 32 * 3)
#define MAX_TILES 5
#define MAX_ROWS (MAX_TILES * (N + 1))

/* ---- the straightforward encoder: every tile, every row of each layer ---- */

typedef struct {
  VlmParams *params;
  Mat patch, q[4], k[4], v[4], out[4], fc1[4], fc2[4];
  float *norm1_w[4], *norm1_b[4], *norm2_w[4], *norm2_b[4];
  float *cls, *pos, *pre_w, *pre_b;
  float state[5][MAX_ROWS * C];  /* hidden states h0 .. h4, host */
  float score[4][MAX_TILES * N]; /* class attention of each layer */
  float normed[4][MAX_ROWS * C]; /* their input, normed */
  float keys[4][MAX_ROWS * C];   /* and its keys; of the layer after the last */
  float wide[4][MAX_TILES * N];  /* as well, and of one head of full width */
} Reference;

/* Loads `layers` layers, and of the next what policies read. */
void reference_load (
    Reference *r, Device *dev, const VlmModel *model, int layers);

/* Runs t tiles [t,32,32,3] through them. */
void reference_run (Reference *r, Device *dev, const guint8 *tiles,
    const float *lut, int t, int layers);

/* ---- policies that keep what the test tells them ---- */

typedef struct {
  int n, order[MAX_ROWS];
  int per_tile[MAX_TILES];
  int n_tiles;
  gboolean refuse, merge;
  /* what plan and select saw */
  float plan_last[N], plan_key[N * C / HEADS], plan_next[N];
  float first[N], last[MAX_TILES * N], next[MAX_TILES * N];
  float key[MAX_TILES * N * C / HEADS], cosine[MAX_TILES * N * N];
  float near[MAX_TILES * N * 4];
  /* rows where they are merged */
  int start[MAX_ROWS + 1], source[3 * MAX_ROWS];
  float weight[3 * MAX_ROWS];
} Wish;

extern Wish wish;

/* Policies that differ in what they tap; the first as HiRED. */
#define N_WISHES 6
extern const VlmPolicy *const wishes[N_WISHES];
extern const VlmPolicy wish_policy, next_policy;

/* Keeps about one token in `stride`, none of the tiles in `without`, in an
 * order in which tiles interleave. */
void make_wish (int n_tiles, int stride, unsigned without);

/* Rows become sums of up to three tokens kept. */
void merge_wish (void);

/* ---- an encoder and what it must give ---- */

typedef struct {
  Device *dev;
  VlmModel *model;
  VlmVision *vision;
  Reference reference;
  VlmVisionJob job;
  VlmSelection selection;
  guint8 *tiles;
  float *lut;
  int n_tiles, deepest;
} VisionBed;

/* n_tiles of random pixels, beside each other, seen by both encoders. */
VisionBed *vision_bed_new (Device *dev, const BedModel *shape, int n_tiles);
void vision_bed_free (VisionBed *bed);

/* The features, host, are those of the wish. */
void vision_bed_expect (VisionBed *bed, const float *features);
