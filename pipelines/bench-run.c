/* bench-run.c - runs frames and keeps the median of each phase
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "pipelines/bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/plan.h"
#include "engine/scratch.h"

#define BEFORE_IMAGE 8 /* prompt tokens */
#define AFTER_IMAGE 24
#define MAX_FRAMES 25
#define MIN_FRAMES 3
#define ENOUGH_US (3 * G_USEC_PER_SEC) /* of frames measured */
#define LONG_US (30 * G_USEC_PER_SEC)  /* of one frame: then two will do */
#define N_ROUNDS 5                     /* of products probed */
#define N_READS 16                     /* of memory, in a frame */

const char *const bench_phase_names[BENCH_N_PHASES] = { "preprocess", "vision",
  "policy", "projector", "prefill", "decode", "frame" };

/* Besides the phases. */
enum {
  TO_FIRST_TOKEN = BENCH_N_PHASES,
  READING, /* 1 TB, as it was beside the decode steps */
  N_TIMES,
};

typedef struct {
  BenchBed *bed;
  const BenchOptions *options;
  DeviceProber *prober; /* or NULL */
  VlmVisionJob job;
  VlmSelection selection;
  VlmSequence seq;
  int *ids;
  gint64 us[N_TIMES];
  int image_rows, next_id;
  VlmFine *fine;           /* or NULL */
  const VlmTidal *tidal;   /* or NULL */
  BenchCount read, decode; /* if counted: of the prompt, of all tokens */
} Frame;

static gint64
lap (Frame *f, gint64 *start)
{
  gint64 now, spent;

  device_sync (f->bed->dev, NULL);
  now = g_get_monotonic_time ();
  spent = now - *start;
  *start = now;
  return spent;
}

static gboolean
see (Frame *f, gint64 *start, GError **error)
{
  BenchBed *bed = f->bed;
  const Act *features;

  f->job.tiles =
      vlm_tiler_run (bed->tiler, &bed->picture, &bed->geometry, error);
  if (!f->job.tiles)
    return FALSE;
  f->us[BENCH_PREPROCESS] = lap (f, start);
  f->job.lut = vlm_tiler_lut (bed->tiler);
  if (!vlm_vision_run (bed->vision, &f->job, &f->selection, &features,
          &f->us[BENCH_POLICY], error))
    return FALSE;
  f->us[BENCH_VISION] = lap (f, start) - f->us[BENCH_POLICY];
  if (!vlm_vision_finish (bed->vision, &f->selection, error))
    return FALSE;
  vlm_projector_run (bed->projector, features, &f->selection, &bed->geometry,
      bed->x, BEFORE_IMAGE);
  if (f->fine) {
    vlm_projector_run_fine (bed->projector, features, &bed->geometry,
        f->fine->features, vlm_fine_rows (f->fine));
    vlm_fine_begin (f->fine, BEFORE_IMAGE, bed->geometry.img_w,
        bed->geometry.img_h,
        BEFORE_IMAGE + f->fine->view.side * f->fine->view.side + AFTER_IMAGE);
  }
  f->us[BENCH_PROJECTOR] = lap (f, start);
  return TRUE;
}

/* In the engine's pieces, the last the only one with logits. */
static gboolean
prefill (Frame *f, GError **error)
{
  BenchBed *bed = f->bed;
  int D = bed->model->config.text.width;
  int n = BEFORE_IMAGE + f->image_rows + AFTER_IMAGE;
  float *logits = NULL;

  vlm_decoder_embed (bed->decoder, bed->x, 0, f->ids, BEFORE_IMAGE);
  vlm_decoder_embed (
      bed->decoder, bed->x, BEFORE_IMAGE + f->image_rows, f->ids, AFTER_IMAGE);
  g_assert (vlm_sequence_reserve (&f->seq, n + f->options->tokens));
  for (int done = 0, piece; done < n; done += piece) {
    piece = vlm_plan_piece (bed->max_tokens, n - done);
    VlmStepInput in = { &f->seq, piece, NULL, bed->x + (gsize) done * D,
      done + piece == n, n, .fine = f->fine };

    if (!vlm_decoder_step (bed->decoder, &in, 1, &logits, error))
      return FALSE;
  }
  f->next_id = vlm_sampler_next (bed->sampler, logits);
  return TRUE;
}

/* Memory is read between the steps that it bounds, which does not count as
 * their time. `n` times so far; the mean is kept. */
static void
probe_reading (Frame *f, int step, int *n, gint64 *start)
{
  int every = (f->options->tokens + N_READS - 1) / N_READS;
  gint64 begin = g_get_monotonic_time ();
  double gbs;

  if (!f->prober || step % every)
    return;
  gbs = device_prober_read (f->prober);
  if (gbs > 0) {
    f->us[READING] = (f->us[READING] * *n + 1e9 / gbs) / (*n + 1);
    ++*n;
  }
  *start += g_get_monotonic_time () - begin;
}

static gboolean
decode (Frame *f, gint64 *start, GError **error)
{
  int n_reads = 0;

  f->us[READING] = 0;
  for (int i = 0; i < f->options->tokens; i++) {
    VlmStepInput in = { &f->seq, 1, &f->next_id, NULL, 1, f->seq.length + 1,
      .tidal = f->tidal, .fine = f->fine };
    float *logits;

    probe_reading (f, i, &n_reads, start);
    if (!vlm_decoder_step (f->bed->decoder, &in, 1, &logits, error))
      return FALSE;
    f->next_id = vlm_sampler_next (f->bed->sampler, logits);
  }
  return TRUE;
}

static gboolean
run_frame (Frame *f, GError **error)
{
  const VlmSampling greedy = { .top_p = 1, .repetition_penalty = 1 };
  gint64 begin = g_get_monotonic_time (), start = begin;

  vlm_sampler_start (f->bed->sampler, &greedy, NULL, 0);
  vlm_sequence_truncate (&f->seq, 0);
  vlm_fine_give (f->fine);
  f->fine = f->bed->fine ? vlm_fine_take (f->bed->fine) : NULL;
  if (!see (f, &start, error))
    return FALSE;
  f->image_rows =
      vlm_projector_rows (f->bed->projector, &f->selection, &f->bed->geometry);
  bench_count_take ();
  if (!prefill (f, error))
    return FALSE;
  f->read = bench_count_take ();
  f->us[BENCH_PREFILL] = lap (f, &start);
  f->us[TO_FIRST_TOKEN] = start - begin;
  if (!decode (f, &start, error))
    return FALSE;
  f->decode = bench_count_take ();
  f->us[BENCH_FRAME] = lap (f, &start);
  f->us[BENCH_DECODE] = f->us[BENCH_FRAME] / f->options->tokens;
  f->us[BENCH_FRAME] += f->us[TO_FIRST_TOKEN];
  return vlm_device_check (f->bed->dev, error);
}

static void
frame_init (Frame *f, BenchBed *bed, const BenchOptions *options)
{
  const VlmPolicy *policy = vlm_policy_find (options->policy);

  *f = (Frame){ .bed = bed, .options = options };
  f->job.policy = policy;
  vlm_policy_defaults (policy, &f->job.input);
  f->job.input.geometry = bed->geometry;
  f->job.input.newlines = bed->model->config.newline;
  f->job.input.budget = options->token_budget;
  vlm_selection_init (&f->selection, policy, &f->job.input);
  f->ids = g_new (int, AFTER_IMAGE);
  for (int i = 0; i < AFTER_IMAGE; i++)
    f->ids[i] = 3 + i;
  vlm_sequence_init (&f->seq, bed->pool);
}

static void
frame_clear (Frame *f)
{
  vlm_sequence_clear (&f->seq);
  vlm_selection_clear (&f->selection);
  g_free (f->ids);
}

/* Bytes of the first new token, of as many as are asked for. */
static void
print_count (const Frame *f)
{
  const BenchBed *bed = f->bed;
  int n = f->options->tokens;

  printf ("%s, cache %s, weights %s; %s, policy %s, budget %g: prompt %d "
          "tokens\n",
      bed->model->name, bed->dev->act_bytes == 4 ? "f32" : "16 bit",
      data_type_name (bed->type), f->options->size, f->options->policy,
      f->options->token_budget, BEFORE_IMAGE + f->image_rows + AFTER_IMAGE);
  printf ("reading it: %.3f Tflop, %.1f MB of keys and values cached\n",
      f->read.operations / 1e12, f->read.cached_bytes / 1e6);
  printf ("a new token, %s attention: reads %.1f MB of them and %.1f MB of "
          "weights, %.2f Gflop\n",
      f->options->decode_attention, f->decode.read_bytes / n / 1e6,
      f->decode.weight_bytes / n / 1e6, f->decode.operations / n / 1e9);
}

gboolean
bench_count (BenchBed *bed, const BenchOptions *options, GError **error)
{
  VlmTidal tidal;
  VlmSettings settings;
  Frame frame;
  gboolean done;

  frame_init (&frame, bed, options);
  vlm_settings_init (&settings);
  settings.tidal.tokens = options->tidal_tokens;
  done = g_str_equal (options->decode_attention, "full") ||
         vlm_tidal_init (&tidal, &settings.tidal, &bed->model->config.text,
             bed->model->name, error);
  if (g_str_equal (options->decode_attention, "tidal"))
    frame.tidal = &tidal;
  done = done && run_frame (&frame, error);
  if (done)
    print_count (&frame);
  frame_clear (&frame);
  vlm_settings_clear (&settings);
  return done;
}

static int
compare_times (gconstpointer a, gconstpointer b)
{
  const gint64 *x = a, *y = b;

  return (*x > *y) - (*x < *y);
}

/* Sorts them. */
static double
median_ms (gint64 *us, int n)
{
  qsort (us, n, sizeof *us, compare_times);
  return (us[(n - 1) / 2] + us[n / 2]) / 2e3;
}

static void
fill_times (BenchResult *r, gint64 us[][MAX_FRAMES], int n)
{
  for (int phase = 0; phase < BENCH_N_PHASES; phase++) {
    r->ms[phase] = median_ms (us[phase], n);
    r->ms_least[phase] = us[phase][0] / 1e3;
    r->ms_most[phase] = us[phase][n - 1] / 1e3;
  }
  r->first_token_ms = median_ms (us[TO_FIRST_TOKEN], n);
  r->n_frames = n;
}

static void
fill_probes (BenchProbes *probes, DeviceProber *prober, gint64 *reading, int n)
{
  double ms = median_ms (reading, n);

  probes->best = device_prober_best (prober);
  probes->median = device_prober_median (prober);
  probes->median.read_gbs = ms > 0 ? 1e6 / ms : 0;
}

static void
fill_fine (const Frame *f, BenchResult *r)
{
  const VlmConfig *config = &f->bed->model->config;
  int first = config->zoom.layer, layers = config->text.layers;
  double selected = 0;

  if (!f->fine || layers <= first)
    return;
  for (int i = first; i < layers; i++)
    selected += f->fine->selected[i];
  r->fine_layers = layers - first;
  r->fine_tokens = selected / r->fine_layers / f->fine->steps;
}

static void
fill_work (const Frame *f, BenchResult *r)
{
  const BenchBed *bed = f->bed;
  gboolean first_tap = (f->job.policy->plan_taps & VLM_TAP_CLS_FIRST) != 0;
  int n = f->selection.n;

  for (int t = 0; t < bed->n_tiles; t++)
    r->live_tiles += f->selection.per_tile[t] > 0;
  r->image_tokens = vlm_tile_image_tokens (&bed->geometry, &bed->model->config);
  r->image_tokens_kept = f->image_rows;
  r->prompt_tokens = BEFORE_IMAGE + f->image_rows + AFTER_IMAGE;
  r->work[BENCH_VISION] =
      bench_vision_operations (bed, first_tap, r->live_tiles, n);
  r->work[BENCH_PROJECTOR] = bench_projector_operations (bed, n);
  fill_fine (f, r);
  r->work[BENCH_PREFILL] = bench_prefill_operations (bed, r->prompt_tokens);
  r->work[BENCH_DECODE] =
      bench_decode_bytes (bed, r->prompt_tokens + (f->options->tokens + 1) / 2);
  r->work[BENCH_DECODE] +=
      r->fine_layers * r->fine_tokens * 2 * bed->model->config.text.kv_heads *
      bed->model->config.text.head_width * bed->dev->act_bytes;
}

static gboolean
is_enough (int n, gint64 total_us)
{
  return n >= MAX_FRAMES || (n >= MIN_FRAMES && total_us > ENOUGH_US) ||
         (n >= 2 && total_us > 2 * LONG_US) || total_us > 4 * LONG_US;
}

static gboolean
run_frames (Frame *f, BenchResult *r, DeviceProber *prober, BenchProbes *probes,
    GError **error)
{
  gint64 us[N_TIMES][MAX_FRAMES], total = 0;
  int n = 0;

  if (!run_frame (f, error))
    return FALSE;
  f->prober = prober;
  for (; !is_enough (n, total); n++) {
    if (n < N_ROUNDS)
      device_prober_multiply (prober);
    if (!run_frame (f, error))
      return FALSE;
    for (int i = 0; i < N_TIMES; i++)
      us[i][n] = f->us[i];
    total += f->us[BENCH_FRAME];
  }
  for (int i = n; i < N_ROUNDS; i++)
    device_prober_multiply (prober);
  fill_times (r, us, n);
  fill_probes (probes, prober, us[READING], n);
  fill_work (f, r);
  return TRUE;
}

gboolean
bench_run (BenchBed *bed, const BenchOptions *options, BenchResult *result,
    BenchProbes *probes, GError **error)
{
  DeviceProber *prober =
      options->no_probes ? NULL : device_prober_new (bed->dev);
  Frame frame;
  gboolean done;

  *result = (BenchResult){ 0 };
  *probes = (BenchProbes){ 0 };
  frame_init (&frame, bed, options);
  done = run_frames (&frame, result, prober, probes, error);
  frame_clear (&frame);
  device_prober_free (prober);
  return done;
}
