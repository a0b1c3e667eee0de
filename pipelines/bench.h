/* bench.h - the parts of hiredvlm-bench
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Works on the engine's networks, without scheduler and GStreamer, so that
 * each phase of a frame can be timed alone.
 */
#pragma once

#include "engine/decoder.h"
#include "engine/image.h"
#include "engine/projector.h"
#include "engine/sampler.h"
#include "engine/vision.h"
#include "kernels/probe.h"

/* ---- what was asked for ---- */

typedef struct {
  char *model, *shape; /* a folder, or a name of vlm_shapes; not both */
  char *weights;       /* auto, f32, bf16 */
  char *policy, *device, *size;
  int layers;  /* 0: as many as fit */
  int tokens;  /* generated */
  int threads; /* 0: one per processor */
  double token_budget;
  gboolean json;
  gboolean no_probes;
  int width, height;      /* of size */
  char *decode_attention; /* full: frames; tidal: attention alone */
  char *contexts;         /* "2928,8192": of attention alone */
  int fine_threshold;     /* FlexAttention's; -1: the model's */
  int tidal_tokens;
  gboolean nv12;  /* the picture, as decoders give it; else RGB */
  gboolean count; /* what a frame costs, not how long it takes */
} BenchOptions;

/* ---- the networks on the device ---- */

typedef struct {
  Device *dev;
  VlmModel *model;
  DataType type;
  int text_layers, vision_layers; /* of the whole model */
  int max_tokens;                 /* of a step */
  int max_sequence;
  guint8 *picture_data;
  VlmPicture picture;
  Pixels pixels; /* of a picture in NV12 */
  VlmTileGeometry geometry;
  int n_tiles;
  VlmTiler *tiler;
  VlmVision *vision;
  VlmProjector *projector;
  VlmDecoder *decoder;
  VlmKvPool *pool;
  VlmFineStore *fine; /* of families that zoom, else NULL */
  VlmSampler *sampler;
  Residual *x; /* [max_sequence,D] the prompt's rows */
} BenchBed;

/* Opens or makes the model, cuts it to options->layers or to what fits, and
 * loads it. Fails with VLM_ERROR_NO_MEMORY naming needed and free bytes. */
gboolean bench_bed_open (/* device and model alone */
    BenchBed *bed, const BenchOptions *options, GError **error);
gboolean bench_bed_init (
    BenchBed *bed, const BenchOptions *options, GError **error);
void bench_bed_clear (BenchBed *bed);

/* ---- the work ---- */

typedef enum {
  BENCH_PREPROCESS,
  BENCH_VISION,
  BENCH_POLICY,
  BENCH_PROJECTOR,
  BENCH_PREFILL,
  BENCH_DECODE, /* one step */
  BENCH_FRAME,  /* all of it, with every decode step */
  BENCH_N_PHASES,
} BenchPhase;

extern const char *const bench_phase_names[BENCH_N_PHASES];

typedef struct {
  double ms[BENCH_N_PHASES]; /* medians, and the quickest and slowest */
  double ms_least[BENCH_N_PHASES], ms_most[BENCH_N_PHASES];
  double work[BENCH_N_PHASES]; /* operations; bytes of decode; 0 = no limit */
  double first_token_ms;       /* frame without its decode steps */
  int n_frames;                /* measured, after one to warm up */
  int image_tokens, image_tokens_kept, prompt_tokens, live_tiles;
  /* FlexAttention: layers that look closer, and of a new token's keys in each
   * of them the fine ones, a mean over all tokens of a frame */
  int fine_layers;
  double fine_tokens;
} BenchResult;

/* Times are compared with the medians, as they are medians: of products that of
 * all attempts, of reading that of the frames, as with a step's time. */
typedef struct {
  DeviceProbe median, best;
} BenchProbes;

/* Probes products between the frames and reading between the decode steps, so
 * that both meet the machine in the same state. */
gboolean bench_run (BenchBed *bed, const BenchOptions *options,
    BenchResult *result, BenchProbes *probes, GError **error);

/* Multiplications and additions counted apart, for what really ran. */
double bench_vision_operations (
    const BenchBed *bed, gboolean first_tap, int live_tiles, int kept);
double bench_projector_operations (const BenchBed *bed, int n);
double bench_prefill_operations (const BenchBed *bed, int n);

/* All weights that a step reads, and the cache of a sequence of that
 * length. */
double bench_decode_bytes (const BenchBed *bed, int length);

/* A new token's attention in all layers: 4 h c a key, `fine` keys more in
 * hierarchical layers. */
double bench_token_operations (const BenchBed *bed, int length, double fine);

/* ---- what the engine asks of the device, counted ---- */

typedef struct {
  double operations;   /* of products and attention */
  double weight_bytes; /* of the matrices of products, each time */
  double cached_bytes; /* keys and values written */
  double read_bytes;   /* of keys and values */
} BenchCount;

/* From here on costly ops are counted and not run, and matrices take no
 * memory: to be called before a model is loaded, on the processor. */
void bench_count_begin (Device *dev);
void bench_count_end (Device *dev);

/* Since the last call. */
BenchCount bench_count_take (void);

/* A frame's, the decode step's with --decode-attention; prints them. */
gboolean bench_count (
    BenchBed *bed, const BenchOptions *options, GError **error);

/* ---- attention alone ---- */

/* One layer's decode attention at each context: full, choosing, and to chosen
 * keys; prints. The model's weights are not used. */
gboolean bench_attention (
    const BenchBed *bed, const BenchOptions *options, GError **error);

/* ---- the report ---- */

void bench_print_text (const BenchBed *bed, const BenchOptions *options,
    const BenchProbes *probes, const BenchResult *result);
void bench_print_json (const BenchBed *bed, const BenchOptions *options,
    const BenchProbes *probes, const BenchResult *result);
