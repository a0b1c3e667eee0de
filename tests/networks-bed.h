/* networks-bed.h - devices, tiny random models and counts for network tests
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>
#include "engine/decoder.h"
#include "engine/model-shape.h"
#include "kernels/cpu/cpu.h"

/* Pieces of a config.json; NULL or 0 is the plain case. */
typedef struct {
  const char *text;           /* more members of text_config, "," first */
  const char *text_type;      /* "llama" */
  const char *feature_layers; /* "-2" */
  gboolean llava;             /* model_type llava, one tile, no newline */
  gboolean full;              /* select strategy */
  int text_layers;            /* 3 */
} BedModel;

/* A model of vision width 32 with tiles of 4x4 patches and text width 48. */
VlmModel *bed_model_new (const BedModel *bed);

#define BED_VOCAB 96

/* A language model and room for its keys. */
typedef struct {
  Device *dev;
  VlmModel *model;
  VlmKvPool *pool;
  VlmDecoder *decoder;
  int n_pages;
} DecoderBed;

void decoder_bed_init (DecoderBed *bed, Device *dev, const BedModel *shape,
    int n_pages, int max_tokens, int max_logits);
void decoder_bed_clear (DecoderBed *bed); /* all pages have come back */

/* One step of the inputs, pages taken; logits[sum of n_logits,BED_VOCAB] to
 * the host. */
void decoder_bed_step (
    DecoderBed *bed, VlmStepInput *inputs, int n, float *logits);

/* The device levels this processor has: calls `test` with each. */
typedef void (*BedTest) (Device *dev, gconstpointer data);
void bed_add (const char *path, BedTest test, gconstpointer data);

/* The same on one device, which may be missing; `device` is constant. */
void bed_add_on (
    const char *path, const char *device, BedTest test, gconstpointer data);

/* f32 products on the CPU compute every row alike, whatever the other rows
 * and the number of threads are: what is cut differently has equal bits. */
#define BED_EXACT 0

/* Largest |a - b| over the range of b, asserted to be within `tolerance`; 0
 * asks for equal bits. */
void bed_compare (
    const char *what, const float *a, const float *b, gsize n, float tolerance);

/* Counts what is allocated on a device and downloaded from it while it is in
 * place. */
typedef struct {
  Ops op; /* the device's table but for these */
  const Ops *old;
  gsize n, bytes;
  gsize downloaded; /* bytes */
} BedCount;

void bed_count_begin (BedCount *count, Device *dev);
void bed_count_end (BedCount *count, Device *dev);
