/* golden-run.c - a checkpoint folder's networks, run level by level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/golden-run.h"

#include "engine/prompt.h"
#include "kernels/cpu/convert.h"

#include <string.h>

#define MAX_NEW 64
#define CHUNK 100 /* so that prompts take several steps */

static int
max_tiles (const VlmConfig *config)
{
  int most = 1;

  if (config->zoom.ratio)
    return 1 + config->zoom.ratio * config->zoom.ratio;
  for (int i = 0; i < config->image.n_pinpoints; i++) {
    int rows = config->image.pinpoint[i][0] / config->vision.image_size;
    int cols = config->image.pinpoint[i][1] / config->vision.image_size;

    most = MAX (most, 1 + rows * cols);
  }
  return most;
}

/* The vision tower may be in a folder of its own. */
static VlmModel *
open_model (const char *folder, GError **error)
{
  g_autofree char *tower = g_build_filename (folder, "tower", NULL);
  gboolean apart = g_file_test (tower, G_FILE_TEST_IS_DIR);

  return vlm_model_open_with_tower (folder, apart ? tower : NULL, error);
}

static void
find_image_id (GoldenRun *run)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VlmTokenizer) tokenizer =
      vlm_prompt_tokenizer (run->model, &error);

  g_assert_no_error (error);
  vlm_prompt_image_id (&run->image_id, run->model, tokenizer, &error);
  g_assert_no_error (error);
}

static void
make_pool (GoldenRun *run)
{
  g_autoptr (GError) error = NULL;
  const VlmConfig *config = &run->model->config;
  int n_pages = run->max_sequence / KV_PAGE_TOKENS + 1;
  int n_fine = config->zoom.ratio ? vlm_fine_pages (config) : 0;

  run->pool = vlm_kv_pool_new_with_fine (
      run->dev, &config->text, n_pages, config->zoom.layer, n_fine, &error);
  g_assert_no_error (error);
  if (n_fine)
    run->fine = vlm_fine_store_new (run->dev, config, 1, n_pages, &error);
  g_assert_no_error (error);
}

GoldenRun *
golden_run_new (const char *device, const char *folder, DataType type)
{
  g_autoptr (GError) error = NULL;
  GoldenRun *run = g_new0 (GoldenRun, 1);
  const VlmConfig *config;
  DeviceStatus status;
  int P, bound;

  run->dev = device_open (device, 1, &status);
  g_assert_nonnull (run->dev);
  run->model = open_model (folder, &error);
  g_assert_no_error (error);
  config = &run->model->config;
  find_image_id (run);
  P = max_tiles (config);
  bound = P * (config->vision.n_patches + 1);
  run->max_sequence = 2 * bound + 512;
  run->vision = vlm_vision_new (run->dev, run->model, type, P, &error);
  g_assert_no_error (error);
  run->projector =
      vlm_projector_new (run->dev, run->model, type, bound, &error);
  g_assert_no_error (error);
  run->decoder = vlm_decoder_new (run->dev, run->model, type, CHUNK, 1, &error);
  g_assert_no_error (error);
  make_pool (run);
  run->x = device_alloc (run->dev,
      (gsize) run->max_sequence * config->text.width * sizeof *run->x);
  vlm_places_init (&run->places, run->dev, config, run->max_sequence, P);
  return run;
}

void
golden_run_free (GoldenRun *run)
{
  vlm_tiler_free (run->tiler[0]);
  vlm_tiler_free (run->tiler[1]);
  vlm_vision_free (run->vision);
  vlm_projector_free (run->projector);
  vlm_decoder_free (run->decoder);
  vlm_kv_pool_free (run->pool);
  vlm_fine_store_free (run->fine);
  device_free (run->dev, run->x);
  vlm_places_clear (&run->places);
  vlm_model_free (run->model);
  device_close (run->dev);
  vlm_selection_clear (&run->selection);
  g_free (run);
}

void
golden_run_look (
    GoldenRun *run, const GoldenPicture *picture, VlmResampling resampling)
{
  g_autoptr (GError) error = NULL;
  g_autofree guint8 *data = golden_draw (picture);
  const VlmPicture pixels = { data, picture->width, picture->height,
    (gsize) picture->width * 3, 1, 1 };
  const VlmConfig *config = &run->model->config;
  VlmTiler **tiler = &run->tiler[resampling];

  if (!*tiler)
    *tiler = vlm_tiler_new (run->dev, config, resampling);
  vlm_tile_geometry (
      &run->geometry, config, picture->width, picture->height, &error);
  g_assert_no_error (error);
  run->n_tiles = vlm_tile_count (&run->geometry);
  run->tiles = vlm_tiler_run (*tiler, &pixels, &run->geometry, &error);
  g_assert_no_error (error);
  run->lut = vlm_tiler_lut (*tiler);
}

void
golden_run_see (GoldenRun *run, const GoldenAsk *ask)
{
  g_autoptr (GError) error = NULL;
  const VlmPolicy *policy = vlm_policy_find (ask->policy);
  VlmPolicyInput *input = &run->job.input;

  run->job =
      (VlmVisionJob){ .tiles = run->tiles, .lut = run->lut, .policy = policy };
  vlm_policy_defaults (policy, input);
  for (int i = 0; i < ask->n_params; i++) {
    vlm_policy_set_param (
        policy, input, ask->param[i].name, ask->param[i].value, &error);
    g_assert_no_error (error);
  }
  input->geometry = run->geometry;
  input->newlines = run->model->config.newline;
  input->budget = ask->budget;
  run->job.ids = TRUE;
  vlm_selection_clear (&run->selection);
  vlm_selection_init (&run->selection, policy, input);
  vlm_vision_run (
      run->vision, &run->job, &run->selection, &run->features, NULL, &error);
  g_assert_no_error (error);
  device_sync (run->dev, NULL);
  vlm_vision_finish (run->vision, &run->selection, &error);
  g_assert_no_error (error);
  run->in_place = ask->in_place && !run->selection.packed;
}

float *
golden_run_pixels (GoldenRun *run)
{
  int T = run->model->config.vision.image_size;
  gsize area = (gsize) T * T, count = run->n_tiles * area * 3;
  g_autofree guint8 *bytes = g_malloc (count);
  float *pixels = g_new (float, count), lut[3 * 256];

  device_download (run->dev, bytes, run->tiles, count);
  device_download (run->dev, lut, run->lut, sizeof lut);
  for (int t = 0; t < run->n_tiles; t++)
    for (gsize i = 0; i < area; i++)
      for (int c = 0; c < 3; c++)
        pixels[(t * 3 + c) * area + i] =
            lut[c * 256 + bytes[(t * area + i) * 3 + c]];
  return pixels;
}

/* Activations to the host as f32, owned. */
static float *
download (const GoldenRun *run, const Act *src, gsize count)
{
  Device *dev = run->dev;
  g_autofree char *stored = g_malloc (count * dev->act_bytes);
  float *values = g_new (float, count);

  device_download (dev, stored, src, count * dev->act_bytes);
  for (gsize i = 0; i < count; i++)
    values[i] = f32_of_type (stored, dev->act_type, i);
  return values;
}

float *
golden_run_features (GoldenRun *run, int *n)
{
  const VlmConfig *config = &run->model->config;
  gsize width = config->vision.width * config->n_feature_layers;

  *n = run->selection.n + (config->keep_class_token ? 1 : 0);
  return download (run, run->features, *n * width);
}

void
golden_run_splice (
    GoldenRun *run, const int *ids, int n, float **rows, int *n_rows)
{
  int D = run->model->config.text.width, at = 0;

  while (at < n && ids[at] != run->image_id)
    at++;
  g_assert_cmpint (at, <, n);
  *n_rows =
      vlm_projector_rows (run->projector, &run->selection, &run->geometry);
  run->n_rows = n - 1 + *n_rows;
  g_assert_cmpint (run->n_rows + MAX_NEW, <=, run->max_sequence);
  vlm_decoder_embed (run->decoder, run->x, 0, ids, at);
  vlm_projector_run (run->projector, run->features, &run->selection,
      &run->geometry, run->x, at);
  vlm_decoder_embed (
      run->decoder, run->x, at + *n_rows, ids + at + 1, n - at - 1);
  run->skipped = run->in_place
                     ? vlm_places_settle (&run->places, run->vision,
                           &run->selection, &run->geometry, at, n - at - 1)
                     : 0;
  if (rows) {
    gsize count = (gsize) *n_rows * D;

    *rows = g_new (float, count);
    device_download (
        run->dev, *rows, run->x + (gsize) at * D, count * sizeof **rows);
  }
}

/* One step; its logits [V] to the host. */
static void
step (GoldenRun *run, VlmStepInput *in, float *logits)
{
  g_autoptr (GError) error = NULL;
  int vocab = run->model->config.text.vocab;
  float *rows;

  g_assert_true (vlm_sequence_reserve (in->seq, in->seq->length + in->n));
  vlm_decoder_step (run->decoder, in, 1, &rows, &error);
  g_assert_no_error (error);
  if (in->n_logits)
    device_download (run->dev, logits, rows, vocab * sizeof (float));
}

static int
first_largest (const float *logits, int n)
{
  int best = 0;

  for (int i = 1; i < n; i++)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

static gboolean
is_eos (const VlmGenerationConfig *config, int id)
{
  for (int i = 0; i < config->n_eos; i++)
    if (config->eos[i] == id)
      return TRUE;
  return FALSE;
}

static void
prefill (GoldenRun *run, VlmSequence *seq, float *logits)
{
  int D = run->model->config.text.width;

  for (int done = 0; done < run->n_rows; done += CHUNK) {
    int n = MIN (CHUNK, run->n_rows - done);
    VlmStepInput in = { .seq = seq,
      .n = n,
      .rows = run->x + (gsize) done * D,
      .n_logits = done + n == run->n_rows,
      .rope_length = run->n_rows + run->skipped,
      .pos = run->in_place ? run->places.pos + done : NULL };

    step (run, &in, logits);
  }
}

int
golden_run_generate (GoldenRun *run, int most, int *ids, float *logits)
{
  int vocab = run->model->config.text.vocab, n = 0;
  g_autofree float *row = g_new (float, vocab);
  VlmSequence seq;

  g_assert_cmpint (most, <=, MAX_NEW);
  vlm_sequence_init (&seq, run->pool);
  seq.skipped = run->skipped;
  prefill (run, &seq, row);
  for (;;) {
    if (logits)
      memcpy (logits + (gsize) n * vocab, row, vocab * sizeof (float));
    ids[n] = first_largest (row, vocab);
    if (++n == most || is_eos (&run->model->config.generation, ids[n - 1]))
      break;
    step (run,
        &(VlmStepInput){
            &seq, 1, &ids[n - 1], NULL, 1, seq.length + seq.skipped + 1 },
        row);
  }
  vlm_sequence_clear (&seq);
  return n;
}
